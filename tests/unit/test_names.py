"""The child's name (domain A.4, B.8)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import naming
from gateway.contract.masked import Personal
from gateway.contract.naming import is_placeholder, normalise_name
from gateway.verify.names import check_name, check_parent_name


@pytest.mark.parametrize(
    "name",
    [
        "BY NY SITI ROHMAH",
        "BBLR NY SITI",
        "BBLR SITI AMINAH",
        "GEMELI SATU NY. SITI",
        "PUTRA NY SITI",
        "NEWBORN SITI",
        "BLM ADA NAMA",
        "TIDAK ADA NAMA",
        "By. Ny. Siti",
        "BY.NY.SITI",
        "BYNY SITI",
        "Bayi Ny. Siti I",
        "BAYI NY SITI 2",
        "bayi Sdr. Rina",
        "BBL NY SITI",
        "BABYBOY OF SITI",
        "BABY BOY SITI",
        "BABY GIRL OF SITI",
        "INFANT OF SITI",
        "ANAK NY SITI",
        "AN. NY. SITI",
        "AN TN BUDI",
        "ANAK IBU SITI",
        "NEONATUS SITI",
        "BAYI SITI",
        "SITI ROHMAH BY NY",
        "SITI ROHMAH, BY",
        "NY SITI",
        "BELUM BERNAMA",
        "BELUM ADA NAMA",
        "TANPA NAMA",
        "NN",
        "X",
        "MR X",
        "B/O SITI",
        "b/o. Siti",
        "SITI B / O",
        "BAYINYA SITI",
        "ANAKNYA SITI",
        "ANAK DARI SITI",
        "CHILD OF SITI",
        "SON OF SITI",
        "TWIN OF SITI",
        "KEMBAR DUA SITI",
        "SITI KEMBAR KE 2",
        "CALON NAMA",
        "CALON BAYI SITI",
        "PEREMPUAN NY",
        "LAKI-LAKI NY.",
        "XXX",
        "XXX YYY",
        "TEST TEST",
        "Testing 2",
        "PUTRA I NY SITI",
    ],
)
def test_placeholders(name: str) -> None:
    assert is_placeholder(name)
    assert check_name(name) == ["PLACEHOLDER"]


@pytest.mark.parametrize(
    "name",
    [
        "ANAK AGUNG GEDE RAKA",
        "AN NISA RAHMA",
        "ANNISA OFELIA",
        "NYOMAN SUKARSA",
        "ANAK AGUNG ISTRI MIRAH",
        "BABY MARGARETHA",
        "BAYU NYOMAN PUTRA",
        "NYOMAN SUARTA",
        "I GEDE PUTRA",
        "NI LUH AYU",
        "IBUNDA SARI",
        "BYANTARA ADI",
        "TNIA LESTARI",
        "XAVIER ALEXA",
        "AHMAD RIZKI PRATAMA",
        "ANAK AGUNG GDE",
        "AN NISA",
        "NYI AGENG SERANG",
        "PUTRA NYOMAN",
        "I KEMBAR",
        "NI KEMBAR SARI",
        "KEMBAR SUTRISNO",
        "I NYOMAN KEMBAR",
        "PUTRI NURAINI",
        "BONITA SARI",
        "BO SUTRISNO",
        "BABY SITI",  # A.4 asks for OF or an honorific behind BABY
        "LAKI PADADA",
        "SON YEJIN",
        "EMMA TEST",
        "TESTA MARIA",
        "MAXX XAVIER",
        "CALONGE MARIA",
        "NYONGKI PRATAMA",
        "NYAK SANDANG",
        "ANNY SUSANTI",
        "TNUNAY SELVI",
    ],
)
def test_real_names_are_no_placeholders(name: str) -> None:
    assert not is_placeholder(name)
    assert check_name(name) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("KADEK MAYA O'CONNOR", ["PUNCTUATION"]),
        ("MUHAMMAD AL-FATIH", ["PUNCTUATION"]),
        ("ZOË MARÍA 2ND DA CONCEIÇÃO", ["NON_BASIC_LATIN", "DIGIT"]),
        ("RIZKI", ["ONE_WORD"]),
        ("M. RIZKI PRATAMA", ["ABBREV"]),
        ("M RIZKI PRATAMA", ["ABBREV"]),
        ("MUH RIZKI", ["ABBREV"]),
        ("ABD. RAHMAN", ["ABBREV"]),
        ("I. GEDE PUTRA", ["ABBREV"]),
        ("H. AHMAD DAHLAN", ["TITLE"]),
        ("HJ AISYAH NUR", ["TITLE"]),
        ("AHMAD DAHLAN, S.H.", ["TITLE"]),
        ("AHMAD DAHLAN SH", ["TITLE"]),
        ("AHMAD RIZKI, PRATAMA", ["PUNCTUATION"]),
        ("AHMAD MA", []),  # a name too
        ("SITI AMINAH NY", ["TITLE"]),  # a grown patient's
        ("SITI AMINAH, NY.", ["TITLE"]),
        ("TN BUDI SANTOSO", ["TITLE"]),
        ("SDR. BUDI SANTOSO", ["TITLE"]),
        ("AN. MUHAMMAD RIZKY", ["TITLE"]),  # a child's
        ("MUHAMMAD RIZKY, AN", ["TITLE"]),
        ("MUHAMMAD RIZKY AN", ["ABBREV"]),
        ("I GST NY RAI", ["ABBREV"]),
        ("I GUSTI NY OKA", ["ABBREV"]),
        ("DEWA NY ADI", ["ABBREV"]),
        ("A A NY RAKA", ["ABBREV"]),
        ("I NY SUKARSA", ["ABBREV"]),  # Nyoman
        ("NI NY. SARI", ["ABBREV"]),
        ("I NYM. SUKARSA", ["ABBREV"]),
        ("NI LUH NYM SARI", ["ABBREV"]),
        ("PRIYA S/O RAJAN", ["PUNCTUATION"]),  # a Tamil's full name: the rules of a name, and no placeholder
        ("B.O. SIMANJUNTAK", ["PUNCTUATION"]),  # initials
        ("A" * 30 + " " + "B" * 30, ["LENGTH"]),
        ("A" * 30 + " " + "B" * 29, []),
        ("", ["MISSING"]),
        ("-", ["MISSING"]),
        ("AHMAD \ufffdRIZKI", ["UNREADABLE"]),
        ("AHMAD\x00RIZKI", ["UNREADABLE"]),
        ("ZoÃ« Maria", ["UNREADABLE"]),
        ("NURâ€™AINI SARI", ["UNREADABLE"]),
        ("MÃŒLLER ANNA", ["UNREADABLE"]),  # MÜLLER, in capitals before and after the wrong decoder
        ("АННА MARIA", ["NON_BASIC_LATIN"]),
    ],
)
def test_rules(name: str, expected: list[str]) -> None:
    assert check_name(name) == expected


def test_a_name_that_equals_a_parents() -> None:
    assert check_name("SITI AMINAH", mother="BUDI", father="Siti  Aminah") == ["SAME_AS_PARENT"]


def test_mojibake_is_looked_for_in_what_was_sent() -> None:
    # "Ãµ" in capitals is no longer what a wrong decoder makes
    assert check_name("JOÃΜO MARIA", as_sent="JoÃµo Maria") == ["UNREADABLE"]


def test_mojibake_is_found_behind_a_mask_too() -> None:
    assert check_name("JOÃΜO MARIA", as_sent=Personal("JoÃµo Maria")) == ["UNREADABLE"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SITI AMINAH", ""),
        ("SITI \ufffdMINAH", "UNREADABLE"),
        ("S1TI \ufffdMINAH", "UNREADABLE"),
        ("ZOÃ‹ AMINAH", "UNREADABLE"),
        ("NGUYÁ»…N LAN", "UNREADABLE"),
        ("S1TI 2", "DIGIT"),
        ("SITI²", "DIGIT"),
        ("JOÃO DA CONCEIÇÃO", ""),
        ("ÂNGELA RENÉE O'NEIL", ""),
        ("NGUYỄN THỊ HƯỜNG", ""),
        ("王小明", ""),
        ("DR. H. BUDI, S.H.", "TITLE"),  # the register may have it: said, and kept
        ("NY SITI", "TITLE"),
    ],
)
def test_a_parents_name_must_be_readable_and_is_else_the_registers(name: str, expected: str) -> None:
    assert check_parent_name(name) == expected
    assert check_parent_name(Personal(name)) == expected


def test_normal_form() -> None:
    assert normalise_name("  ahmad\t rizki\n ") == "AHMAD RIZKI"
    assert normalise_name("zoe\u0308") == "ZOË"


@given(st.text())
def test_any_text_gets_a_verdict_and_a_normal_form(text: str) -> None:
    check_name(text, as_sent=text, mother=text[::-1], father=text)
    once = normalise_name(text)
    assert normalise_name(once) == once


@given(st.lists(st.text("ABCDEFGHIJKLMNOPRSTUVWYZ", min_size=4, max_size=9), min_size=2, max_size=5))
def test_plain_capital_words_break_at_most_the_word_lists(words: list[str]) -> None:
    found = check_name(" ".join(words))
    assert set(found) <= {"PLACEHOLDER", "TITLE", "ABBREV"}


# Whole and broken pieces of what the placeholder patterns look for, glued in any way.
PIECES = (
    *("BY", "BAYI", "BBL", "NEONATUS", "NEONATE", "BABY", "INFANT", "NEWBORN", "BB", "ANAK", "AN", "OF", "BOY", "GIRL"),
    *("MALE", "FEMALE", "NY", "NYONYA", "NN", "NONA", "TN", "TUAN", "IBU", "SDR", "SDRI", "SAUDARI", "TWIN", "KEMBAR"),
    *(
        "BELUM",
        "BERNAMA",
        "ADA",
        "DIBERI",
        "PUNYA",
        "TANPA",
        "NO",
        "NAMA",
        "NAME",
        "X",
        "A",
        "II",
        "2",
        "SITI",
        "PUTRA",
    ),
    *(
        "CHILD",
        "SON",
        "DAUGHTER",
        "DARI",
        "BAYINYA",
        "ANAKNYA",
        "CALON",
        "PEREMPUAN",
        "LAKI",
        "LAKI-",
        "TEST",
        "TESTING",
    ),
    *("B/O", "B", "/", "O", "BO", "KE", "DUA", "KEDUA", "ONE", "XX", "XXXXXXXXX", "XXXXXXXXXX", "I", "NI", "NY."),
)


@given(
    pieces=st.lists(st.sampled_from([piece + end for piece in PIECES for end in ("", " ", "  ")]), max_size=6),
    small=st.booleans(),
)
def test_the_quick_look_at_words_never_misses_a_placeholder(pieces: list[str], *, small: bool) -> None:
    name = "".join(pieces)
    plain = normalise_name(name)
    words = " ".join(naming._DOTTING.sub(" ", plain).split())
    slow = naming._BABY_OF.search(plain) is not None or naming._PLACEHOLDERS.search(words) is not None
    assert is_placeholder(name.lower() if small else name) is slow


@pytest.mark.parametrize("name", ["AHMAD\tBY NY SITI", "SITI, BAYI", "O'BY", "ÉMILE BAYI NY X", "BY_NY SITI X"])
def test_names_that_are_not_words_alone_are_looked_at_in_full(name: str) -> None:
    assert is_placeholder(name)
