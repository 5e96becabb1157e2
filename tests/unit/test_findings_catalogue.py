"""The catalogue of what can be wrong with a birth."""

from __future__ import annotations

import re
import string
import tomllib
from importlib import resources

import pytest

from gateway.contract.finding import Entry, Finding, _entry
from gateway.contract.lifecycle import State
from gateway.hl7.location import Location

RAW = tomllib.loads(resources.files("schemas").joinpath("hl7", "findings-birth.toml").read_text(encoding="utf-8"))
ENTRIES: dict[str, Entry] = {code: _entry(code, values) for code, values in RAW.items()}
# domain A.5: ERR-5 and, in brackets, the severities that are fixed there.
BUSINESS_CODES = {
    *("NIK_LENGTH", "NIK_FORMAT", "NIK_DATE", "NIK_REGION_UNKNOWN", "NIK_SEX_MISMATCH", "NIK_DOB_MISMATCH"),
    *("NIK_NOT_FOUND", "NIK_DECEASED", "NIK_INACTIVE", "NIK_DUPLICATE", "KK_MISMATCH", "MOTHER_MISSING"),
    *("FATHER_MISSING", "NAME_PLACEHOLDER", "NAME_LENGTH", "NAME_DIGIT", "NAME_PUNCT", "NAME_TITLE", "NAME_ABBREV"),
    *("NAME_NON_LATIN", "NAME_ONE_WORD", "BIRTH_FUTURE", "BIRTH_LATE", "SEX_UNKNOWN", "WEIGHT_RANGE", "DUP_SUSPECT"),
    *("ALREADY_ISSUED", "CANCEL_AFTER_ISSUE", "FORM_INCOMPLETE"),
}
PARAMETERS = {"count", "days", "missing", "missing_en", "offset", "place", "reason", "which"}


def test_every_business_code_of_the_profile_is_there() -> None:
    assert {entry.error_code for entry in ENTRIES.values()} >= BUSINESS_CODES


def test_codes_do_not_clash_with_those_of_the_wire() -> None:
    wire = tomllib.loads(resources.files("schemas").joinpath("hl7", "findings-wire.toml").read_text(encoding="utf-8"))
    assert not wire.keys() & RAW.keys()


@pytest.mark.parametrize("code", sorted(RAW))
def test_an_entry_is_whole(code: str) -> None:
    entry = ENTRIES[code]
    assert entry.severity in ("E", "W", "I")
    assert entry.condition in {0, *range(100, 105), *range(200, 208)}
    assert set(RAW[code]) <= {"error_code", "severity", "condition", "hold", "title", "id", "en"}
    for text in (entry.text_id, entry.text_en):
        assert {name for _, name, _, _ in string.Formatter().parse(text) if name} <= PARAMETERS
        assert text.endswith(".")
        assert len(text) <= 180  # MSA-3 holds 200 up to 2.4
        assert text.isascii()  # whatever the sender's character set is
    assert len(entry.title) <= 80


def test_only_what_the_hospital_must_mend_is_an_error() -> None:
    for code, entry in ENTRIES.items():
        if entry.hold in (State.HOLD_NAME, State.AWAIT_FORM, State.STILLBIRTH):
            assert entry.severity != "E", code


def test_texts_are_filled_and_never_show_what_is_not_given() -> None:
    finding = Finding("MOTHER_NIK_LENGTH", Location("PID", 1, 21, 1, 1), {"count": "15"})
    assert finding.text("en") == "The NIK of the mother must have 16 digits, 15 were sent. Correct it and send an A08."
    assert finding.text("id").startswith("NIK ibu harus 16 angka")
    assert "(DUPLIKAT)" in Finding("REGISTRY_REFUSED", None, {"reason": "DUPLIKAT"}).text("id")
    assert "PID-21" not in Finding("NO_FATHER").text("id")
    assert finding.as_dict()["state"] == "HOLD_DATA"
    assert not re.search(r"\d{16}", str(RAW))
