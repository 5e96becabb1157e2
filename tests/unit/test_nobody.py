"""Words that name nobody, whoever's name it should have been (issue 10 B, domain A.4)."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.masked import Personal
from gateway.contract.naming import normalise_name
from gateway.contract.nobody import called_after, is_no_name, is_nobody, names_nobody
from gateway.verify.names import check_name, check_parent_name

LISTED = tomllib.loads(resources.files("schemas").joinpath("hl7", "no-names.toml").read_text(encoding="utf-8"))
LANGUAGES = [language for language in LISTED if language != "real"]

# The words of issue 10, and what they stand for: other spellings, other marks, other orders, other tongues.
NOBODY = (
    *("TIDAK ADA", "BELUM ADA", "BELUM DIISI", "BELUM", "UNKNOWN", "NONAME", "NO NAME", "KOSONG", "NIHIL", "ANONIM"),
    *("NAMA SEMENTARA", "NAMA ANAK", "NAMA BELUM ADA", "TANPA KETERANGAN", "ANAK PERTAMA", "ANAK KEDUA", "PASIEN BARU"),
    *("PASIEN TEST", "DUMMY", "COBA COBA", "NN", "JANIN", "ANAK", "ADIK BAYI", "BABY", "BABY BOY", "BAYI PEREMPUAN"),
    *("Tidak ada", "tidak-ada", "T1DAK ADA", "TIDAKADA", "ADA TIDAK", "T I D A K  A D A", "TI DAK ADA", "TIDAK, ADA."),
    *("TDIAK ADA", "TIDAKK ADA", "TDK ADA", "UNKN0WN", "UNKNOWM", "U.N.K.N.O.W.N", "KOSOMG", "KOSSONG", "PASEIN BARU"),
    *("N.N.", "N/A", "n.a.", "???", "0", "00000", "X", "XXX", "Z", "AAAA", "ZZZZ", "asdf", "QWERTY", "NULL", "NONE"),
    *("TEST123", "TES TES", "COBA-COBA", "CobaCoba", "PASIEN BARU 2", "PASIEN UMUM", "UNKNOWN UNKNOWN", "MR UNKNOWN"),
    *("IBU", "AYAH", "ORANG TUA", "IBU KANDUNG", "NY. X", "TN X", "NY", "SAKSI 1", "SAKSI II", "BIDAN JAGA", "PELAPOR"),
    *("JOHN DOE", "DOE JOHN", "ANONYMOUS", "NOT YET NAMED", "NO NAME YET", "NOT AVAILABLE", "TBA", "UNNAMED BABY"),
    *("DURUNG ONO", "ORA ONO", "DURUNG DIJENENGI", "JABANG BAYI", "TEU ACAN AYA", "CAN AYA NGARAN", "DURUNG MADAN"),
    *(
        "NENTEN WENTEN",
        "INDAK ADO",
        "KADADA NGARAN",
        "MENYUSUL",
        "TIDAK TAHU",
        "MENINGGAL",
        "ANAK KE-1",
        "PUTRA PERTAMA",
    ),
    *("NAMALENGKAP", "DATA KOSONG", "IDEM", "TIDÁK ADÁ", "BELUM\tADA"),
)


@pytest.mark.parametrize("name", NOBODY)
def test_nobodys_name_holds_the_child_and_everybody_else(name: str) -> None:
    name = normalise_name(name)
    assert is_no_name(name)
    assert is_nobody(name)
    assert check_parent_name(Personal(name)) == "PLACEHOLDER"
    assert check_name(name) in (["PLACEHOLDER"], ["MISSING"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_listed_word_and_phrase_is_found(language: str) -> None:
    words = LISTED[language]
    for word in (*words.get("nobody", []), *words.get("empty", []), *words.get("whole", [])):
        assert names_nobody(word), word
    for word in words.get("nobody", []):
        assert names_nobody(f"{word} SITI"), word
        assert names_nobody(f"SITI {word}"), word


def test_a_word_that_may_be_a_name_counts_beside_another_only() -> None:
    assert not names_nobody("ADA")
    assert not names_nobody("PUTRI BARU")
    assert names_nobody("BARU LAHIR")


def test_another_script_is_somebody() -> None:
    assert not is_nobody("王小明")
    assert not is_nobody("АННА")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ANAK SITI", "PLACEHOLDER"),
        ("ANAK SITI AMINAH", "PLACEHOLDER"),
        ("SITI AMINAH ANAK", "PLACEHOLDER"),  # the other component first
        ("ADIK BAYI AMINAH", "PLACEHOLDER"),
        ("CALON ANAK NY. SITI", "PLACEHOLDER"),
        ("BABY SITI", "PLACEHOLDER"),
        ("SITI AMINAH II", "PLACEHOLDER"),
        ("SITI AMINAH 2", "PLACEHOLDER"),
        ("PUTRI SITI AMINAH", "PLACEHOLDER"),
        ("AMINAH SITI", "SAME_AS_PARENT"),
        ("SITI AMINAH", "SAME_AS_PARENT"),
        ("PUTRI AMINAH", ""),
        ("ANAK AGUNG SITI", ""),
        ("AISYAH SITI AMINAH", ""),
        ("AN SITI RAHMA", ""),
        ("AHMAD RIZKI", ""),
    ],
)
def test_a_child_called_by_its_mothers_name(name: str, code: str) -> None:
    assert called_after(name, "NY. SITI AMINAH", mother=True) == code


def test_a_child_may_bear_its_fathers_name_behind_putra() -> None:
    assert called_after("PUTRA BUDI SANTOSO", "BUDI SANTOSO", mother=False) == ""
    assert called_after("ANAK BUDI", "BUDI SANTOSO", mother=False) == "PLACEHOLDER"


def test_anak_agung_is_a_title_of_bali_whatever_the_mother_is_called() -> None:
    assert check_name("ANAK AGUNG GEDE RAKA", mother="AGUNG SARI") == []
    assert check_name("ANAK AGUNG SARI", mother="AGUNG SARI") == ["PLACEHOLDER"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("NY. SITI AMINAH", "TITLE"),
        ("NY SITI", "TITLE"),
        ("NN SITI AMINAH", "TITLE"),
        ("IBU SITI", "TITLE"),
        ("BUNDA SITI", "TITLE"),
        ("HJ. SITI AMINAH", "TITLE"),
        ("DR. SITI AMINAH", "TITLE"),
        ("SDRI SITI", "TITLE"),
        ("NY.SITI AMINAH", "TITLE"),
        ("SITI AMINAH (NY)", "TITLE"),
        ("SITI AMINAH, S.PD", "TITLE"),
        ("NONA. SITI", "TITLE"),
        ("BAYI NY SITI", "PLACEHOLDER"),
        ("NONA AMBAR", ""),
        ("NI NY SARI", ""),
        ("MAS AYU SARI", ""),
        ("SITI NYOMAN", ""),
    ],
)
def test_a_title_before_a_parents_name_is_told(name: str, code: str) -> None:
    assert check_parent_name(name) == code


@given(st.text(max_size=200))
def test_any_text_gets_an_answer(text: str) -> None:
    assert is_nobody(normalise_name(text)) in (True, False)
    assert called_after(normalise_name(text), "SITI", mother=True) in ("", "PLACEHOLDER", "SAME_AS_PARENT")


def test_a_long_name_costs_no_long_look() -> None:
    assert not names_nobody("TIDAKADA" * 10_000)
    assert not names_nobody("T1DAK " * 10_000)
