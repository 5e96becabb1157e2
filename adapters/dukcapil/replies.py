"""Tolerant readers of what the registry answers; strict values out. Whatever cannot be read is RegistryProtocolError.

Numbers are read exactly: a NIK that begins with 91 to 96 is larger than 2^53, and no float ever touches one
(domain 0.11, F 43). Error texts name places, never values.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

from adapters.dukcapil.codes import (
    ACT_STATUS,
    CHECK_CODES,
    CHECK_TEXTS,
    ELEMENTS,
    LOGIN_TEXTS,
    QUOTA_TEXTS,
    REGISTERED,
    STATUS,
)
from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import ActOutcome, Certificate, Outcome, RegistryStatus
from gateway.errors import NonsenseError, RegistryProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NIK_DIGITS = 16
_TEXT_MAX = 500
_CODE = re.compile(r"[A-Z0-9_]{1,40}")
_POINTER = re.compile(r"(/[a-z0-9_]{1,40}){1,6}")
_VERDICT = re.compile(r"\s*(tidak\s+)?sesuai\s*(?:\(\s*(\d{1,3})\s*\))?\s*", re.IGNORECASE)
# Domain B.3, the current pattern of akta numbers.
_AKTA = re.compile(r"\d{4}-(?:LU|LT)-(\d{8})-\d{3,6}")
_NUMBER_MAX = 40
_KEY_MAX = 200
_URL_MAX = 2048
_REVISION_MAX = 2**31 - 1
NO_ADDRESS = "invalid:"  # stands for what is none; nothing is fetched from it
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DATES = ("%d-%m-%Y", "%d.%m.%Y", "%Y-%m-%d")
_FULL_SCORE = 100
_FIRST_YEAR, _LAST_YEAR = 1900, 2999  # no birth is registered outside of them


# ------------------------------------------------------------------------------------------------ plain values


def load(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, integers exact and fractions as Decimal. Raises RegistryProtocolError."""
    try:
        value = json.loads(body, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, ArithmeticError, RecursionError) as error:  # Decimal has bounds, and says so arithmetically
        raise RegistryProtocolError("the registry's answer is not JSON") from error
    if not isinstance(value, dict):
        raise RegistryProtocolError("the registry's answer is not a JSON object")
    return value


def digits(value: object, *, place: str) -> str:
    """Return a NIK or KK number as 16 digits, whether it came as text or as a number (domain C.1)."""
    if isinstance(value, Decimal) and value.adjusted() < _NIK_DIGITS and value == value.to_integral_value():
        value = int(value)  # 3.51E+15 of a spreadsheet is exact where it is whole
    if isinstance(value, int):
        value = str(value)  # no province begins with 0, so nothing is padded
    text = value.strip() if isinstance(value, str) else ""
    if not (len(text) == _NIK_DIGITS and text.isascii() and text.isdigit()):
        raise RegistryProtocolError(f"the registry's answer has no 16 digits at {place}")
    return text


def read_date(text: str) -> dt.date:
    """Read DD-MM-YYYY, DD.MM.YYYY or YYYY-MM-DD (domain C.1). Raises RegistryProtocolError."""
    for form in _DATES:
        try:
            # A calendar date has no zone; strptime is used for its formats only.
            return dt.datetime.strptime(text.strip(), form).date()  # noqa: DTZ007
        except ValueError:
            continue
    raise RegistryProtocolError("the registry's answer has a date in none of the three known forms")


def _no_constant(_name: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


def _word(value: object) -> str:
    """Return a code as the registry writes it, or an empty text for anything that is no code."""
    text = value.strip().upper() if isinstance(value, str) else ""
    return text if _CODE.fullmatch(text) else ""


def _sentence(value: object) -> str:
    text = value if isinstance(value, str) else ""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_TEXT_MAX]


# ----------------------------------------------------------------------------------------------- element check


class Trouble(Enum):
    """Why a check was not made at all: nothing about the person (domain C.2)."""

    QUOTA = "quota"
    LOGIN = "login"
    REQUEST = "request"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer for one element."""

    agrees: bool
    score: int


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """What the element check said: verdicts, or a state of the record, or a trouble, or nothing we know."""

    verdicts: Mapping[str, Verdict]
    state: str = ""  # second half of a finding code, e.g. NIK_DECEASED
    code: str = ""  # RESPONSE_CODE
    trouble: Trouble | None = None


def verdict(text: object) -> Verdict | None:
    """Read "Sesuai", "Sesuai (100)", "Tidak Sesuai (59)"; no bracket is 100 or 0 (domain C.2). None: not readable."""
    found = _VERDICT.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    agrees = not found[1]
    score = int(found[2]) if found[2] else (_FULL_SCORE if agrees else 0)
    return Verdict(agrees, score) if score <= _FULL_SCORE else None


def parse_check(body: bytes) -> CheckAnswer:
    """Read an answer of CALL_VERIFY_BY_ELEMEN: HTTP 200 means nothing yet (domain 0.14).

    Raises RegistryProtocolError.
    """
    first = _first(load(body))
    code, text = _response(first)
    verdicts = {k: v for k, raw in first.items() if k in {"NIK", *ELEMENTS} and (v := verdict(raw))}
    if trouble := _trouble(text):
        return CheckAnswer({}, code=code, trouble=trouble)
    state = CHECK_CODES.get(code, "") or _state(text)
    if not (verdicts or state or code or text):
        raise RegistryProtocolError("the element check answered neither a verdict nor a reason")
    return CheckAnswer(verdicts, state or ("" if verdicts else "CHECK_UNCLEAR"), code)


@dataclass(frozen=True, slots=True, repr=False)
class Person:
    """Of a full record (domain C.1) what a birth may need; the rest is not read. Never printed."""

    nik: str
    family_card: str = ""
    born_on: dt.date | None = None
    born_in: str = ""
    standing: str = ""  # STAT_HBKEL: what the person is in the family card (domain B.2)


@dataclass(frozen=True, slots=True)
class Looked:
    """What the look-up by NIK said: a person, or a state of the record, or a trouble."""

    person: Person | None = field(default=None, repr=False)
    state: str = ""
    trouble: Trouble | None = None


def parse_look_up(body: bytes) -> Looked:
    """Read an answer of CALL_NIK: numbers or text, keys of any case, three forms of dates, absent keys (domain C.1).

    Raises RegistryProtocolError.
    """
    first = _first(load(body))
    code, text = _response(first)
    if trouble := _trouble(text):
        return Looked(trouble=trouble)
    if state := CHECK_CODES.get(code, "") or _state(text):
        return Looked(state=state)
    if first.get("NIK") is None:
        raise RegistryProtocolError("the look-up answered neither a person nor a reason")
    card, born = first.get("NO_KK"), first.get("TGL_LHR")
    return Looked(
        Person(
            nik=digits(first["NIK"], place="/content/0/NIK"),
            family_card=digits(card, place="/content/0/NO_KK") if card not in (None, "", 0) else "",
            born_on=read_date(born) if isinstance(born, str) and born.strip() else None,
            born_in=" ".join(_sentence(first.get("TMPT_LHR")).upper().split()),
            standing=_sentence(first.get("STAT_HBKEL")).upper(),
        )
    )


def _first(answer: dict[str, Any]) -> dict[str, Any]:
    """Return content[0], or the answer itself where a deployment sends no envelope, with keys in capitals."""
    outer = {key.upper(): value for key, value in answer.items()}
    content = outer.get("CONTENT", outer)
    if isinstance(content, list):
        content = content[0] if content else {}
    if not isinstance(content, dict):
        raise RegistryProtocolError("the element check's content is not an object")
    return {str(key).upper(): value for key, value in content.items()}


def _response(first: dict[str, Any]) -> tuple[str, str]:
    texts = [_sentence(first.get(key)) for key in ("RESPON", "RESPONSE", "RESPONSE_DESC")]
    code = first.get("RESPONSE_CODE")
    if code is None:  # one client's server puts the bare code into RESPONSE
        code = next((t for t in texts if t.isdigit()), "")
    code = f"{code:02d}" if isinstance(code, int) else str(code).strip()
    return (code if code.isalnum() and code.isascii() else "")[:8], next((t for t in texts if t and t != code), "")


def _trouble(text: str) -> Trouble | None:
    low = text.lower()
    if any(word in low for word in QUOTA_TEXTS):
        return Trouble.QUOTA
    if any(word in low for word in LOGIN_TEXTS):
        return Trouble.LOGIN
    return Trouble.REQUEST if "parameter" in low else None


def _state(text: str) -> str:
    low = text.lower()
    return next((state for word, state in CHECK_TEXTS if word in low), "")


# -------------------------------------------------------------------------------------------------- submission


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error body: the registry's code, and where in our document it points (JSON pointers, no values)."""

    code: str
    pointers: tuple[str, ...] = ()
    reference: str = ""


def parse_refusal(body: bytes) -> Refusal:
    """Read `{kode, pesan, galat:[{lokasi}]}` (domain C.4). Anything else is a refusal without a code."""
    try:
        answer = load(body)
    except RegistryProtocolError:
        return Refusal("")
    faults = answer.get("galat")
    places = [f.get("lokasi") for f in faults if isinstance(f, dict)] if isinstance(faults, list) else []
    pointers = tuple(p for p in places if isinstance(p, str) and _POINTER.fullmatch(p))
    return Refusal(_word(answer.get("kode")), pointers[:20], _sentence(answer.get("no_permohonan"))[:_NUMBER_MAX])


def parse_case(body: bytes, *, birth_id: str = "", revision: int = 0) -> Outcome:
    """Read where a case is (domain C.4); `birth_id` and `revision` stand in where the answer leaves them out.

    Raises RegistryProtocolError for anything that is not such an answer, or about no case.
    """
    answer = load(body)
    status = STATUS.get(_word(answer.get("status")))
    if status is None:
        raise RegistryProtocolError("the registry's answer has no status that the contract knows")
    found_id, found_revision = answer.get("id_kasus", birth_id), answer.get("revisi", revision)
    if not isinstance(found_id, str) or not found_id or type(found_revision) is not int or found_revision < 1:
        raise RegistryProtocolError("the registry's answer does not say which case and revision it is about")
    if found_revision > _REVISION_MAX:
        raise NonsenseError("the registry's answer is about a revision beyond all bounds")
    return Outcome(
        birth_id=found_id,
        revision=found_revision,
        status=status,
        reference=_sentence(answer.get("no_permohonan"))[:_NUMBER_MAX],
        certificate=_certificate(answer.get("terbit")) if status is RegistryStatus.ISSUED else None,
        reason=_word(answer.get("kode")),
        text=_sentence(answer.get("pesan")),
        acts=_acts(answer.get("tindakan")),
    )


def _acts(told: object) -> tuple[ActOutcome, ...]:
    """Read `tindakan`. One of a status that the contract does not know is left out: nothing is concluded from it."""
    found = []
    for entry in told if isinstance(told, list) else []:
        key, status = (entry.get("kunci"), entry.get("status")) if isinstance(entry, dict) else (None, None)
        if (
            isinstance(key, str)
            and 0 < len(key) <= _KEY_MAX
            and key.isprintable()
            and (known := ACT_STATUS.get(_word(status)))
        ):
            found.append(ActOutcome(key, known, _word(entry.get("kode"))))
    return tuple(found)


def _certificate(issued: object) -> Certificate:
    """Map `terbit`. Without a number and a document with its SHA-256 nothing was issued that could be handed out."""
    if not isinstance(issued, dict):
        raise RegistryProtocolError("the registry says issued and gives no certificate at /terbit")
    document = _document(issued.get("dokumen"))
    nik, family_card = issued.get("nik_anak"), issued.get("no_kk")
    return Certificate(
        number=_akta_number(issued.get("no_akta"), stillbirth=document["jenis"] == "SKLM"),
        # A child of foreigners gets neither (domain F 58).
        child_nik=Nik(digits(nik, place="/terbit/nik_anak") if nik is not None else ""),
        family_card=Personal(digits(family_card, place="/terbit/no_kk") if family_card is not None else ""),
        issued_at=_moment(issued.get("terbit_pada")),
        sha256=document["sha256"].lower(),
        document_url=document["url"],
        registered=_registered(issued.get("data")),
    )


def _registered(told: object) -> dict[str, Personal]:
    """Read what the akta says, by record path; it is optional, and what is no text is no statement (domain F 97)."""
    values = {}
    for place, path in REGISTERED.items():
        part, name = place.split("/")
        person = told.get(part) if isinstance(told, dict) else None
        text = _sentence(person.get(name)) if isinstance(person, dict) else ""
        if text and name == "tanggal_lahir":
            text = read_date(text).isoformat()
        if text:
            values[path] = Personal(text)
    return values


def _document(documents: object) -> dict[str, str]:
    for entry in documents if isinstance(documents, list) else []:
        if not isinstance(entry, dict) or entry.get("jenis") not in {"AKTA", "SKLM"}:
            continue
        url, digest = entry.get("url"), entry.get("sha256")
        if isinstance(url, str) and url and isinstance(digest, str) and _SHA256.fullmatch(digest.lower()):
            return {"jenis": entry["jenis"], "url": url if _is_kept(url) else NO_ADDRESS, "sha256": digest}
    raise RegistryProtocolError("the registry's answer has no certificate document with url and sha256")


def _is_kept(url: str) -> bool:
    """Tell whether an address can be one at all: the akta counts without its file, too (domain F 99)."""
    return len(url) <= _URL_MAX and url.isascii() and url.isprintable()


def _akta_number(value: object, *, stillbirth: bool) -> str:
    """Return the number in its canonical form: capitals, no spaces, a real date in it (domain B.3)."""
    text = "".join(value.split()).upper() if isinstance(value, str) else ""
    if stillbirth and 0 < len(text) <= _NUMBER_MAX and text.isprintable():
        return text  # a letter of stillbirth has no fixed pattern
    found = _AKTA.fullmatch(text)
    if found is None:
        raise RegistryProtocolError("the registry's akta number has not the form RRRR-LU-DDMMYYYY-NNNN")
    day = found[1]
    read_date(f"{day[:2]}-{day[2:4]}-{day[4:]}")
    return text


def _moment(value: object) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        raise RegistryProtocolError("the registry's answer has no time at /terbit/terbit_pada") from error
    if moment.tzinfo is None:
        raise RegistryProtocolError("the registry's time at /terbit/terbit_pada has no zone")
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise NonsenseError("the registry's time at /terbit/terbit_pada is beyond all bounds")
    return moment.astimezone(dt.UTC)
