"""What a birth still needs, exactly, and from whom: for the ward's form, the lists and the officer (F 26 to 88).

Pure. The keys and their sentences are those of contract.missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.contract.lifecycle import State
from gateway.contract.missing import ITEMS
from gateway.contract.nobody import is_nobody
from gateway.contract.record import Event
from gateway.verify.names import is_unreadable
from gateway.verify.people import WITNESSES, is_minor, number_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_BY_CODE = {
    "BIRTH_DATE": "birth_date",
    "BIRTH_FUTURE": "birth_date",
    "BIRTH_TIME": "birth_time",
    "BIRTH_ZONE": "birth_time",
    "BIRTH_PLACE": "birth_place",
    "SEX_UNKNOWN": "sex",
    "BIRTH_ORDER": "birth_order",
    "OBSERVATION_PRELIMINARY": "final_result",
    "MOTHER_MISSING": "mother",
    "MOTHER_AMBIGUOUS": "mother",
    "MOTHER_NAME_MISSING": "mother_name",
    "MOTHER_NAME_UNREADABLE": "mother_name",
    "MOTHER_NAME_PLACEHOLDER": "mother_name",
    "FATHER_NAME_MISSING": "hospital_data",
    "FATHER_NAME_UNREADABLE": "hospital_data",
    "FATHER_NAME_PLACEHOLDER": "hospital_data",
    "REGISTRY_REFUSED": "office_request",
}
_BY_STATE = {
    State.HOLD_NAME.value: "name",
    State.HOLD_DATA.value: "hospital_data",
    State.REVIEW.value: "decision",
    State.STILLBIRTH.value: "decision",
}
_FORM = State.AWAIT_FORM.value


def missing(
    values: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    *,
    accepted: Iterable[str] = (),
    today: dt.date,
) -> tuple[str, ...]:
    """Return the keys of what holds a birth (stored findings), in the order of `ITEMS`.

    What a person took responsibility for (`accepted`) is not missing any more. Consent is named also where it holds
    nothing: the office registers by law (F 87).
    """
    holding = [f for f in findings if f["state"] and f["code"] not in set(accepted)]
    keys = {_key(f) for f in holding if f["state"] != _FORM}
    if any(f["state"] == _FORM and f["code"] != "CONSENT_MISSING" for f in holding):
        keys |= set(_form(values, today))
    if values.get("event") is not Event.STILLBIRTH and not values.get("consent.given"):
        keys.add("consent")
    return tuple(key for key in ITEMS if key in keys)


def _key(finding: Mapping[str, Any]) -> str:
    code: str = finding["code"]
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code.startswith(("MOTHER_NIK_", "FATHER_NIK_")) and finding["state"] == State.HOLD_DATA.value:
        return f"{code.split('_', 1)[0].lower()}_nik"
    return _BY_STATE[finding["state"]]


def _form(values: Mapping[str, Any], today: dt.date) -> Iterator[str]:
    if not _identified(values, "reporter"):
        yield "reporter"
    parents = {number_of(values, parent) for parent in ("mother", "father")} - {""}
    first = number_of(values, WITNESSES[0])
    for index, person in enumerate(WITNESSES):
        number = number_of(values, person)
        unfit = bool(number) and (number in parents or is_minor(number, today) or (index > 0 and number == first))
        if unfit or not _identified(values, person):
            yield f"witness_{index + 1}"
    father = any(values.get(f"father.{field}") for field in ("name", "nik", "travel_document"))
    status = values.get("marriage.status")
    if father and (status is None or (status == "TERCATAT" and not values.get("marriage.number"))):
        yield "marriage"


def _identified(values: Mapping[str, Any], person: str) -> bool:
    """Tell whether somebody's name and a NIK of sixteen digits are there; of a foreigner the name must do."""
    name = values.get(f"{person}.name")
    if not name or is_unreadable(name) or is_nobody(name):
        return False
    number = number_of(values, person)
    return (len(number) == 16 and number.isdigit()) or values.get(f"{person}.citizenship") == "WNA"  # noqa: PLR2004
