from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dukcapil.codes import STATUS
from adapters.dukcapil.replies import (
    Refusal,
    Trouble,
    Verdict,
    digits,
    load,
    parse_case,
    parse_check,
    parse_look_up,
    parse_refusal,
    read_date,
    verdict,
)
from gateway.contract.ports import RegistryStatus
from gateway.errors import RegistryProtocolError

SHA = "ab" * 32


def check(**content: Any) -> bytes:
    return json.dumps({"content": [content], "lastPage": True, "quotaLimiter": 7}).encode()


def case(**overrides: Any) -> bytes:
    body: dict[str, Any] = {
        "no_permohonan": "P3510-00000001",
        "id_kasus": "b-1",
        "revisi": 2,
        "status": "TERBIT",
        "terbit": {
            "no_akta": "3510-LU-11032025-0001",
            "nik_anak": "3510161103259000",
            "no_kk": "3510161405189001",
            "terbit_pada": "2025-03-11T10:00:00+07:00",
            "dokumen": [{"jenis": "AKTA", "nomor": "x", "url": "/dokumen/x.pdf", "sha256": SHA}],
        },
    }
    return json.dumps(body | overrides).encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sesuai", Verdict(agrees=True, score=100)),
        ("Sesuai (100)", Verdict(agrees=True, score=100)),
        (" SESUAI(87) ", Verdict(agrees=True, score=87)),
        ("Tidak Sesuai", Verdict(agrees=False, score=0)),
        ("Tidak Sesuai (59)", Verdict(agrees=False, score=59)),
        ("tidak  sesuai ( 0 )", Verdict(agrees=False, score=0)),
        ("Sesuai (101)", None),
        ("Kurang Sesuai", None),
        ("", None),
        (None, None),
        (100, None),
    ],
)
def test_a_verdict_is_a_word_and_perhaps_a_score(text: object, expected: Verdict | None) -> None:
    assert verdict(text) == expected


def test_keys_of_the_element_check_are_read_in_any_case() -> None:
    answer = parse_check(json.dumps({"Content": [{"nama_lgkp": "Sesuai (96)", "Tgl_Lhr": "Tidak Sesuai"}]}).encode())
    assert answer.verdicts == {"NAMA_LGKP": Verdict(agrees=True, score=96), "TGL_LHR": Verdict(agrees=False, score=0)}
    assert (answer.state, answer.trouble) == ("", None)


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ({"RESPONSE_CODE": "11", "RESPONSE": "Data ditemukan, meninggal dunia"}, "NIK_DECEASED"),
        ({"RESPONSE_CODE": 12, "RESPON": "x"}, "NIK_DUPLICATE"),
        ({"response_code": "13"}, "NIK_NOT_FOUND"),
        ({"RESPONSE_CODE": "14", "RESPONSE_DESC": "x"}, "NIK_INACTIVE"),
        ({"RESPONSE_CODE": "15"}, "NIK_FORMAT"),
        ({"RESPONSE_CODE": "08"}, "CHECK_CODE_08"),
        ({"RESPONSE_CODE": 8}, "CHECK_CODE_08"),
        ({"RESPONSE_CODE": "77", "RESPON": "apa saja"}, "CHECK_UNCLEAR"),
        ({"RESPONSE": "13"}, "NIK_NOT_FOUND"),
        ({"RESPON": "Data tidak ditemukan"}, "NIK_NOT_FOUND"),
        ({"RESPON": "Data Ganda"}, "NIK_DUPLICATE"),
    ],
)
def test_a_reason_instead_of_verdicts_is_a_state_of_the_record(content: dict[str, Any], state: str) -> None:
    assert parse_check(check(**content)).state == state


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("Kuota akses hari ini telah habis", Trouble.QUOTA),
        ("Login gagal", Trouble.LOGIN),
        ("IP tidak sesuai", Trouble.LOGIN),
        ("user id tidak aktif", Trouble.LOGIN),
        ("instansi tidak aktif", Trouble.LOGIN),
        ("user, password dan IP tidak boleh kosong", Trouble.LOGIN),
        ("parameter tidak lengkap", Trouble.REQUEST),
    ],
)
def test_operational_texts_are_no_statement_about_the_person(text: str, trouble: Trouble) -> None:
    answer = parse_check(check(RESPON=text))
    assert (answer.trouble, answer.state) == (trouble, "")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"content": []}', b'{"content": [3]}', b"\xff"])
def test_an_unreadable_check_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(RegistryProtocolError):
        parse_check(body)


def test_a_nik_beyond_two_to_the_53_keeps_every_digit() -> None:
    answer = load(b'{"nik_anak": 9271014107959001, "kk": 9603010101019007.0}')
    assert digits(answer["nik_anak"], place="/x") == "9271014107959001"
    assert digits(answer["kk"], place="/x") == "9603010101019007"


@pytest.mark.parametrize(
    "value", ["351016", "", None, True, 17, -3510161103259000, 3.5, "３５１０１６１１０３２５９０００"]
)
def test_what_is_not_sixteen_digits_is_refused_without_being_quoted(value: object) -> None:
    with pytest.raises(RegistryProtocolError) as error:
        digits(value, place="/terbit/nik_anak")
    assert str(error.value) == "the registry's answer has no 16 digits at /terbit/nik_anak"


def test_an_absurd_exponent_is_refused_at_once() -> None:
    with pytest.raises(RegistryProtocolError):
        digits(load(b'{"n": 1e999999999}')["n"], place="/n")


@pytest.mark.parametrize("text", ["04-07-1992", "04.07.1992", "1992-07-04", " 1992-07-04 "])
def test_three_forms_of_a_date_are_read(text: str) -> None:
    assert read_date(text) == dt.date(1992, 7, 4)


@pytest.mark.parametrize("text", ["31-02-1992", "1992/07/04", "", "4 Juli 1992"])
def test_other_dates_are_refused(text: str) -> None:
    with pytest.raises(RegistryProtocolError):
        read_date(text)


def test_an_issued_case_becomes_an_outcome_with_its_certificate() -> None:
    outcome = parse_case(case())
    assert (outcome.birth_id, outcome.revision, outcome.status) == ("b-1", 2, RegistryStatus.ISSUED)
    assert outcome.reference == "P3510-00000001"
    certificate = outcome.certificate
    assert certificate is not None
    assert certificate.number == "3510-LU-11032025-0001"
    assert certificate.child_nik.reveal() == "3510161103259000"
    assert certificate.issued_at == dt.datetime(2025, 3, 11, 3, 0, tzinfo=dt.UTC)
    assert (certificate.sha256, certificate.document_url) == (SHA, "/dokumen/x.pdf")


@pytest.mark.parametrize("word", sorted(STATUS))
def test_every_status_word_has_a_meaning(word: str) -> None:
    assert parse_case(case(status=word.lower(), kode="NAMA_TIDAK_SAH", pesan="a\nb")).status is STATUS[word]


def test_reason_and_text_of_a_refusal_are_kept() -> None:
    outcome = parse_case(case(status="DITOLAK", terbit=None, kode="NAMA_TIDAK_SAH", pesan="Nama\r\n tidak sah"))
    assert (outcome.reason, outcome.text, outcome.certificate) == ("NAMA_TIDAK_SAH", "Nama tidak sah", None)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "SELESAI"},
        {"status": None},
        {"id_kasus": 5},
        {"revisi": "2"},
        {"revisi": True},
        {"terbit": None},
        {"terbit": {}},
    ],
)
def test_what_the_contract_does_not_know_is_a_protocol_error(changes: dict[str, Any]) -> None:
    with pytest.raises(RegistryProtocolError):
        parse_case(case(**changes))


@pytest.mark.parametrize(
    ("number", "read"),
    [
        (" 3510-lt-11032025-00012 ", "3510-LT-11032025-00012"),
        ("3510-LU-31022025-0001", None),
        ("3510-XX-11032025-0001", None),
        ("", None),
        (None, None),
    ],
)
def test_an_akta_number_is_read_loosely_and_kept_canonical(number: object, read: str | None) -> None:
    issued = json.loads(case())["terbit"] | {"no_akta": number}
    if read is None:
        with pytest.raises(RegistryProtocolError):
            parse_case(case(terbit=issued))
    else:
        certificate = parse_case(case(terbit=issued)).certificate
        assert certificate is not None
        assert certificate.number == read


def test_a_refusal_keeps_codes_and_pointers_and_no_free_text() -> None:
    body = {
        "kode": "NIK_IBU_TIDAK_SESUAI",
        "pesan": "SITI AMINAH",
        "galat": [{"lokasi": "/ibu/nik", "pesan": "SITI"}, {"lokasi": "SITI AMINAH"}, 3],
    }
    assert parse_refusal(json.dumps(body).encode()) == Refusal("NIK_IBU_TIDAK_SESUAI", ("/ibu/nik",))
    assert parse_refusal(b"<html>") == Refusal("")
    assert parse_refusal(b'{"kode": "Siti Aminah"}') == Refusal("")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["content", "RESPON"]), inner),
        max_leaves=20,
    )
)
def test_no_json_at_all_breaks_the_readers(value: Any) -> None:
    body = json.dumps(value).encode()
    for read in (parse_check, parse_case, parse_refusal):
        try:
            read(body)
        except RegistryProtocolError:
            continue


# ------------------------------------------------------------------------------------------- look-up by NIK


@pytest.mark.parametrize("born", ["12.03.1995", "12-03-1995", "1995-03-12"])
@pytest.mark.parametrize("key", ["NIK", "nik", "Nik"])
@pytest.mark.parametrize("nik", [9171161203959001, "9171161203959001 ", "9171161203959001"])
def test_a_full_record_is_read_whatever_its_types_key_case_and_form_of_date(born: str, key: str, nik: object) -> None:
    body = json.dumps({"content": [{key: nik, "no_kk": 9171161405189001, "tgl_lhr": born, "NO_RT": 3}]}).encode()
    looked = parse_look_up(body)
    assert looked.person is not None
    assert (looked.person.nik, looked.person.family_card) == ("9171161203959001", "9171161405189001")
    assert looked.person.born_on == dt.date(1995, 3, 12)
    assert "9171161203959001" not in repr(looked)


def test_elements_that_an_agreement_does_not_grant_are_simply_absent() -> None:
    looked = parse_look_up(b'{"content":[{"NIK":3510161203959001,"NO_KK":null,"TGL_LHR":" "}]}')
    assert looked.person is not None
    assert (looked.person.family_card, looked.person.born_on) == ("", None)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"RESPON": "Data tidak ditemukan"}, ("NIK_NOT_FOUND", None)),
        ({"RESPON": "Kuota akses hari ini telah habis"}, ("", Trouble.QUOTA)),
        ({"RESPON": "Login gagal"}, ("", Trouble.LOGIN)),
    ],
)
def test_a_look_up_without_a_person_says_why(content: dict[str, Any], expected: tuple[str, Trouble | None]) -> None:
    looked = parse_look_up(json.dumps({"content": [content]}).encode())
    assert (looked.state, looked.trouble) == expected
    assert looked.person is None


def test_a_look_up_that_says_nothing_is_off_the_contract() -> None:
    with pytest.raises(RegistryProtocolError):
        parse_look_up(b'{"content":[{}]}')
