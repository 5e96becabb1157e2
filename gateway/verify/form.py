"""What of form F-2.01 is still missing: reporter, witnesses, proof of marriage (domain B.5, B.6, F 88)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.verify.nik import is_younger

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

_WITNESS_AGE = 21


class _Person(NamedTuple):
    """Where a record has a person's name, NIK and citizenship."""

    name: str
    nik: str
    citizenship: str


_REPORTER = _Person("reporter.name", "reporter.nik", "reporter.citizenship")
_WITNESS_1 = _Person("witnesses.0.name", "witnesses.0.nik", "witnesses.0.citizenship")
_WITNESS_2 = _Person("witnesses.1.name", "witnesses.1.nik", "witnesses.1.citizenship")


def missing_items(values: Mapping[str, Any], *, today: dt.date) -> list[tuple[str, str]]:
    """Return what is missing of a record, given as values by path, in Indonesian and English.

    Proof of marriage is asked only where a father is named.
    """
    missing: list[tuple[str, str]] = []
    if not _is_identified(values, _REPORTER):
        missing.append(("pelapor", "reporter"))
    if not _are_witnesses(values, today):
        missing.append(("dua saksi", "two witnesses"))
    father = values.get("father.name") or values.get("father.nik") or values.get("father.travel_document")
    if father and not _is_proof(values):
        missing.append(("bukti nikah", "marriage proof"))
    return missing


def _is_identified(values: Mapping[str, Any], person: _Person) -> bool:
    """Tell whether a name and a NIK are there; of a foreigner, who has none, the name must do."""
    if not values.get(person.name):
        return False
    return bool(values.get(person.nik)) or values.get(person.citizenship) == "WNA"


def _are_witnesses(values: Mapping[str, Any], today: dt.date) -> bool:
    """Tell whether there are two identified people: not the same, no parent, of age as far as the NIK tells."""
    if not (_is_identified(values, _WITNESS_1) and _is_identified(values, _WITNESS_2)):
        return False
    first, second = values.get(_WITNESS_1.nik), values.get(_WITNESS_2.nik)
    if first and first == second:
        return False
    return _is_fit(first, values, today) and _is_fit(second, values, today)


def _is_fit(number: str | None, values: Mapping[str, Any], today: dt.date) -> bool:
    if not number:
        return True
    if number in (values.get("mother.nik"), values.get("father.nik")):
        return False
    return not is_younger(number, _WITNESS_AGE, today=today)


def _is_proof(values: Mapping[str, Any]) -> bool:
    status = values.get("marriage.status")
    return status is not None and (status != "TERCATAT" or bool(values.get("marriage.number")))
