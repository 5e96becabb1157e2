"""What of form F-2.01 is still missing: reporter, witnesses, proof of marriage (domain B.5, B.6, F 88)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.verify.nik import age_on, birth_date_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

_WITNESS_AGE = 21
_WITNESSES = 2


def missing_items(values: Mapping[str, Any], *, today: dt.date) -> list[tuple[str, str]]:
    """Return what is missing of a record, given as values by path, in Indonesian and English.

    Proof of marriage is asked only where a father is named.
    """
    missing = []
    if not _is_identified(values, "reporter"):
        missing.append(("pelapor", "reporter"))
    if not _are_witnesses(values, today):
        missing.append(("dua saksi", "two witnesses"))
    if any(values.get(f"father.{field}") for field in ("name", "nik", "travel_document")) and not _is_proof(values):
        missing.append(("bukti nikah", "marriage proof"))
    return missing


def _is_identified(values: Mapping[str, Any], person: str) -> bool:
    """Tell whether a name and a NIK are there; of a foreigner, who has none, the name must do."""
    if not values.get(f"{person}.name"):
        return False
    return bool(values.get(f"{person}.nik")) or values.get(f"{person}.citizenship") == "WNA"


def _are_witnesses(values: Mapping[str, Any], today: dt.date) -> bool:
    """Tell whether there are two identified people: not the same, no parent, of age as far as the NIK tells."""
    people = [w for w in ("witnesses.0", "witnesses.1") if _is_identified(values, w)]
    numbers = [number for w in people if (number := values.get(f"{w}.nik"))]
    parents = {values.get("mother.nik"), values.get("father.nik")}
    if len(people) < _WITNESSES or len(set(numbers)) < len(numbers) or parents & set(numbers):
        return False
    # Of two possible centuries the later one: a child must not pass as one of a hundred.
    births = [birth_date_of(n, today=today, youngest=0, oldest=100) for n in numbers]
    return all(born is None or age_on(born, today) >= _WITNESS_AGE for born in births)


def _is_proof(values: Mapping[str, Any]) -> bool:
    status = values.get("marriage.status")
    return status is not None and (status != "TERCATAT" or bool(values.get("marriage.number")))
