"""Reporter and witnesses: who they are, by the rules a parent's NIK is checked by (domain B.1, B.5, F 88).

Pure. One set of rules for what came by HL7 and what came by a form; a witness is told by number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.finding import Finding
from gateway.hl7.location import Location
from gateway.verify.nik import check_nik, clean_nik, is_younger

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

WITNESSES = ("witnesses.0", "witnesses.1")
WITNESS_AGE = 21  # F 88
_SHAPE = ("LENGTH", "FORMAT", "DATE")  # the region is a parent's matter, and sex and birth date are not on the form
_EXPECTED = {
    "reporter": Location("ZKL", 1, 10),
    "witnesses.0": Location("ZKL", 1, 11),
    "witnesses.1": Location("ZKL", 1, 12),
}


def check_people(values: Mapping[str, Any], places: Mapping[str, Location], *, today: dt.date) -> list[Finding]:
    """Return what is wrong with reporter and witnesses of a record, given as values by path; a code is told once."""
    found: dict[str, Finding] = {}
    for code, path, parameters in people_problems(values, today=today):
        person = path.rpartition(".")[0]
        place = places.get(path) or _EXPECTED[person]
        found.setdefault(code, Finding(code, place, parameters))
    return list(found.values())


def people_problems(values: Mapping[str, Any], *, today: dt.date) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield (code, path, parameters) of each problem, person by person."""
    for person in ("reporter", *WITNESSES):
        number = number_of(values, person)
        if number:
            for problem in check_nik(number, sex=None, born_on=None, today=today):
                if problem in _SHAPE:
                    who = "REPORTER" if person == "reporter" else "WITNESS"
                    yield f"{who}_NIK_{problem}", f"{person}.nik", {"which": which(person), "count": str(len(number))}
    yield from _witnesses(values, today)


def _witnesses(values: Mapping[str, Any], today: dt.date) -> Iterator[tuple[str, str, dict[str, str]]]:
    first, second = (number_of(values, person) for person in WITNESSES)
    parents = {number_of(values, parent) for parent in ("mother", "father")} - {""}
    if first and first == second:
        yield "WITNESS_TWICE", "witnesses.1.nik", {}
    for person in WITNESSES:
        number = number_of(values, person)
        if number and number in parents:
            yield "WITNESS_IS_PARENT", f"{person}.nik", {"which": which(person)}
        elif number and is_minor(number, today):
            yield "WITNESS_AGE", f"{person}.nik", {"which": which(person)}


def is_minor(number: str, today: dt.date) -> bool:
    """Tell whether a NIK is of somebody under 21."""
    return is_younger(number, WITNESS_AGE, today=today)


def number_of(values: Mapping[str, Any], person: str) -> str:
    """Return a person's NIK without blanks and dots, "" where there is none."""
    number = values.get(f"{person}.nik")
    return clean_nik(str.__str__(number)) if number else ""


def which(person: str) -> str:
    """Return how people count witnesses: I, II."""
    return {"witnesses.0": "I", "witnesses.1": "II"}.get(person, "")
