"""What of form F-2.01 is still missing: reporter, witnesses, proof of marriage (domain B.5, B.6, F 88)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.verify.nik import age_on, birth_date_of

if TYPE_CHECKING:
    import datetime as dt

    from gateway.contract.record import BirthRecord, Parent, Participant

_WITNESS_AGE = 21
_WITNESSES = 2


def missing_items(record: BirthRecord, *, today: dt.date) -> list[tuple[str, str]]:
    """Return what is missing, in Indonesian and English. Proof of marriage is asked only where a father is named."""
    missing = []
    if record.reporter is None or not _is_identified(record.reporter):
        missing.append(("pelapor", "reporter"))
    if not _are_witnesses(record, today):
        missing.append(("dua saksi", "two witnesses"))
    if is_known(record.father) and not _is_proof(record):
        missing.append(("bukti nikah", "marriage proof"))
    return missing


def is_known(parent: Parent | None) -> bool:
    """Tell whether there is a parent one could name or look up."""
    return parent is not None and bool(parent.name or parent.nik or parent.travel_document)


def _is_identified(person: Participant) -> bool:
    """Tell whether a name and a NIK are there; of a foreigner, who has none, the name must do."""
    return bool(person.name and (person.nik or person.citizenship == "WNA"))


def _are_witnesses(record: BirthRecord, today: dt.date) -> bool:
    """Tell whether there are two identified people: not the same, no parent, of age as far as the NIK tells."""
    people = [w for w in record.witnesses if _is_identified(w)]
    numbers = [w.nik.reveal() for w in people if w.nik]
    parents = {p.nik.reveal() for p in (record.mother, record.father) if p and p.nik}
    if len(people) < _WITNESSES or len(set(numbers)) < len(numbers) or parents & set(numbers):
        return False
    # Of two possible centuries the later one: a child must not pass as one of a hundred.
    births = [birth_date_of(n, today=today, youngest=0, oldest=100) for n in numbers]
    return all(born is None or age_on(born, today) >= _WITNESS_AGE for born in births)


def _is_proof(record: BirthRecord) -> bool:
    marriage = record.marriage
    return marriage is not None and (marriage.status != "TERCATAT" or bool(marriage.number))
