"""The element check: whether the parents' data agree with the population register (domain C.2), within the day's quota.

It remembers until when not to call the service again, and, by keyed hashes alone, whose data agreed today.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import structlog

from adapters.dukcapil.agreements import Agreements
from adapters.dukcapil.codes import ELEMENTS
from adapters.dukcapil.options import FULL_SCORE, SERVICE_THRESHOLD
from adapters.dukcapil.replies import CheckAnswer, Looked, Trouble, Verdict
from gateway.contract.finding import Finding
from gateway.contract.masked import Personal
from gateway.contract.ports import ElementVerdict, ParentCheck
from gateway.contract.record import BirthRecord, Parent, Sex, Variant
from gateway.errors import RegistryLoginError, RegistryQuotaError, RegistryUnavailableError
from gateway.hl7.location import Location

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from adapters.dukcapil.client import Client
    from adapters.dukcapil.options import Options
    from gateway.contract.ports import RegistrySettings

_WIB = dt.timezone(dt.timedelta(hours=7), "WIB")
_SEX = {Sex.MALE: "Laki-laki", Sex.FEMALE: "Perempuan"}
_NIK = re.compile(r"\d{16}", re.ASCII)
# Where in the record the thing is that a finding speaks of.
_FIELDS = {
    "NAME_MISMATCH": "name",
    "DOB_MISMATCH": "born_on",
    "SEX_MISMATCH": "sex",
    "KK_MISMATCH": "family_card",
    "MARITAL_MISMATCH": "marital_status",
}

# What an element is called in the record.
RECORD_FIELDS = {
    "NIK": "nik",
    "NAMA_LGKP": "name",
    "TGL_LHR": "born_on",
    "JENIS_KLMIN": "sex",
    "NO_KK": "family_card",
    "STATUS_KAWIN": "marital_status",
}

log = structlog.get_logger("procot.registry")


@dataclass(frozen=True, slots=True)
class _Closed:
    """Why the element check is left alone, since when and until when."""

    trouble: Trouble
    at: dt.datetime
    until: dt.datetime


_Answer = TypeVar("_Answer", CheckAnswer, Looked)


class ElementCheck:
    """The questions about parents, and the door that a refusal shuts."""

    def __init__(self, settings: RegistrySettings, options: Options, client: Client) -> None:
        self._settings = settings
        self._options = options
        self._client = client
        self._agreed = Agreements(seconds=options.cache_s, clock=settings.clock)
        self._closed: _Closed | None = None
        self._door = asyncio.Lock()
        self._let_in = False

    @property
    def identity(self) -> str:
        """As whom the element check is called, as a digest: one that was refused says nothing about another."""
        settings = self._settings
        who = (self._options.check_url, settings.check_user, settings.check_password, settings.check_ip)
        return hashlib.sha256(json.dumps(who).encode()).hexdigest()

    def reopen(self, since: dt.datetime) -> None:
        """Call the element check again, where it was closed before `since`: a person mended the cause."""
        if self._closed is not None and self._closed.at <= since:
            self._closed = None

    async def check_parents(self, record: BirthRecord) -> tuple[ParentCheck, ...]:
        """Ask about each parent that has a NIK and is no foreigner, both at once (domain C.2).

        A father who will not be on the akta is not asked about (domain F 48).
        """
        parents = [("mother", record.mother)]
        if record.variant is not Variant.MOTHER_ONLY:
            parents.append(("father", record.father))
        asked = [(role, p) for role, p in parents if p is not None and p.nik and p.citizenship != "WNA"]
        answers = await asyncio.gather(*(self._check(role, p, record) for role, p in asked), return_exceptions=True)
        # Both are awaited before either failure is told, so that no request is left running behind our back.
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return tuple(a for a in answers if isinstance(a, ParentCheck))

    async def _check(self, role: str, parent: Parent, record: BirthRecord) -> ParentCheck:
        nik = parent.nik.reveal() if parent.nik else ""
        if not _NIK.fullmatch(nik):
            return self._checked(role, record, {"NIK_FORMAT": ""})  # known without spending the day's quota
        if not self._settings.check_user:
            return self._checked(role, record, {"CHECK_UNCLEAR": ""})
        elements = _elements(nik, parent, record, married=self._options.married)
        if self._agreed.knows(elements):
            agreed = tuple(ElementVerdict(RECORD_FIELDS[element], agrees=True) for element in elements)
            return replace(self._checked(role, record, {}), elements=agreed)
        path = f"/dukcapil/get_json/{self._options.institution}/CALL_VERIFY_BY_ELEMEN"
        answer = await self._call(self._client.check, path, self._request(elements))
        problems = self._problems(answer, elements)
        if not problems:
            self._agreed.keep(elements)
        checked = replace(self._checked(role, record, problems), elements=self._verdicts(answer, elements))
        if not problems and self._options.look_up and self._is_lacking(parent, elements):
            return await self._look_up(checked, nik, record)
        return checked

    def _is_lacking(self, parent: Parent, elements: Mapping[str, str]) -> bool:
        """Tell whether a look-up could fill a gap: without one nobody's full record is read."""
        return "NO_KK" not in elements or (self._options.look_up_fills == "record" and not parent.born_in)

    async def _look_up(self, checked: ParentCheck, nik: str, record: BirthRecord) -> ParentCheck:
        """Add what the full record says of the family card of a parent whose data agreed, where that is configured.

        Of the rest only the place of birth is taken, and only where the configuration says so: F-2.01 asks for it.
        A mother who is a child in her own parents' card is laid before a person (domain F 90).
        """
        path = f"/dukcapil/get_json/{self._options.institution}/{self._options.look_up}"
        answer = await self._call(self._client.look_up, path, self._request({"NIK": nik}, threshold=False))
        person = answer.person
        if person is None or person.nik != nik:
            return checked
        role, learned = checked.parent, dict[str, Personal]()
        if person.family_card:
            learned[f"{role}.family_card"] = Personal(person.family_card)
        if person.born_in and self._options.look_up_fills == "record":
            learned[f"{role}.born_in"] = Personal(person.born_in)
        dependent = role == "mother" and person.standing == "ANAK"
        found = self._checked(role, record, {"CHILD_IN_KK": ""}).findings if dependent else ()
        return replace(checked, findings=found, learned=learned)

    async def _call(
        self, ask: Callable[[str, Mapping[str, str]], Awaitable[_Answer]], path: str, request: Mapping[str, str]
    ) -> _Answer:
        """Call where we may. Until we were let in once, one call goes alone: a wrong password is tried once."""
        if self._let_in:
            return self._heard(await self._asked(ask, path, request))
        async with self._door:
            answer = self._heard(await self._asked(ask, path, request))
            self._let_in = True
        return answer

    async def _asked(
        self, ask: Callable[[str, Mapping[str, str]], Awaitable[_Answer]], path: str, request: Mapping[str, str]
    ) -> _Answer:
        self._stay_away_if_closed()
        return await ask(path, request)

    def _heard(self, answer: _Answer) -> _Answer:
        if answer.trouble:
            self._close_checks(answer.trouble)
        return answer

    def _request(self, elements: Mapping[str, str], *, threshold: bool = True) -> dict[str, str]:
        request = {
            "USER_ID": self._settings.check_user,
            "PASSWORD": self._settings.check_password,
            "IP_USER": self._settings.check_ip,
            **({"TRESHOLD": str(SERVICE_THRESHOLD)} if threshold else {}),
            **elements,
        }
        return {k.lower(): v for k, v in request.items()} if self._options.lower_case_keys else request

    def _verdicts(self, answer: CheckAnswer, elements: Mapping[str, str]) -> tuple[ElementVerdict, ...]:
        """Return each element's verdict by our thresholds; none where the answer is about the whole person."""
        if answer.state or answer.trouble:
            return ()
        found = []
        for element in elements:
            verdict = answer.verdicts.get(element)
            if verdict is None:  # the record was found by its NIK: no word about it is none against it
                found.append(ElementVerdict(RECORD_FIELDS[element], agrees=True if element == "NIK" else None))
            else:
                agrees = not self._problem(element, verdict)
                found.append(ElementVerdict(RECORD_FIELDS[element], agrees=agrees, score=verdict.score))
        return tuple(found)

    def _problems(self, answer: CheckAnswer, elements: Mapping[str, str]) -> dict[str, str]:
        """Return what is wrong: second half of the finding code, and the score where the name was compared."""
        if answer.trouble is Trouble.REQUEST or answer.state in ("CHECK_UNCLEAR", "CHECK_CODE_08"):
            log.warning("registry.check_unclear", code=answer.code, step="check")
            return {answer.state or "CHECK_UNCLEAR": ""}
        if answer.state:
            return {answer.state: ""}
        problems: dict[str, str] = {}
        for element in elements:
            if problem := self._problem(element, answer.verdicts.get(element)):
                problems[problem] = _score(element, answer)
        return problems

    def _problem(self, element: str, verdict: Verdict | None) -> str:
        if element == "NIK":
            # The record was found by it: no verdict is none against it.
            return "CHECK_UNCLEAR" if verdict and not verdict.agrees else ""
        if verdict is None:
            return "CHECK_UNCLEAR"  # asked and not answered is not agreed
        agrees = verdict.agrees and verdict.score >= self._options.thresholds[element]
        return "" if agrees else ELEMENTS[element]

    def _checked(self, role: str, record: BirthRecord, problems: Mapping[str, str]) -> ParentCheck:
        findings = tuple(
            Finding(
                code=f"{role.upper()}_{problem}",
                place=_place(record, f"{role}.{_FIELDS.get(problem, 'nik')}"),
                parameters={"score": score} if score else {},
                # Nearly the same name: said, and a person looks; below the service's own threshold it weighs more.
                severity_override="W" if score and int(score) >= SERVICE_THRESHOLD else "",
            )
            for problem, score in problems.items()
        )
        return ParentCheck(role, findings)

    def _stay_away_if_closed(self) -> None:
        closed = self._closed
        if closed is None:
            return
        left = (closed.until - self._settings.clock()).total_seconds()
        if left > 0 or closed.trouble is Trouble.LOGIN:  # a refused login is never tried again by itself
            raise _refused(closed.trouble, after=left if left > 0 else self._options.login_pause_s)
        self._closed = None

    def _close_checks(self, trouble: Trouble) -> None:
        """Stop calling: until midnight WIB for a used-up quota, until a person for a login (domain F 93, 94)."""
        if trouble is Trouble.REQUEST:
            return
        now = self._settings.clock()
        if trouble is Trouble.QUOTA:
            tomorrow = now.astimezone(_WIB).date() + dt.timedelta(days=1)
            until = dt.datetime.combine(tomorrow, dt.time(), _WIB)
        else:
            until = now + dt.timedelta(seconds=self._options.login_pause_s)
        self._closed = _Closed(trouble, now, until)
        log.error("registry.check_refused", code=trouble.name, step="check", until=until.isoformat(timespec="seconds"))
        raise _refused(trouble, after=(until - now).total_seconds())


def _refused(trouble: Trouble, *, after: float) -> RegistryUnavailableError:
    if trouble is Trouble.QUOTA:
        return RegistryQuotaError(
            "the day's quota of the element check is used up; it goes on at midnight WIB, or after "
            "`procot registry resume` where the quota was raised",
            after=after,
        )
    return RegistryLoginError(
        "the element check refuses user, password or address and is not called again: correct registry.check_user, "
        "check_password_file, check_ip and restart, or `procot registry resume` once Dukcapil mended its side",
        after=after,
    )


def _elements(nik: str, parent: Parent, record: BirthRecord, *, married: str) -> dict[str, str]:
    """Return the elements to compare: what the record holds, nothing made up (domain C.2).

    Where a recorded marriage was told, both parents must be married in the register (domain F 51).
    """
    family_card = parent.family_card or record.family_card
    recorded = record.marriage is not None and record.marriage.status == "TERCATAT"
    elements = {
        "NIK": nik,
        "NAMA_LGKP": parent.name.reveal() if parent.name else "",
        "TGL_LHR": parent.born_on.strftime("%d-%m-%Y") if parent.born_on else "",
        "JENIS_KLMIN": _SEX[parent.sex] if parent.sex else "",
        "NO_KK": family_card.reveal() if family_card else "",
        "STATUS_KAWIN": married if recorded else "",
    }
    return {key: value for key, value in elements.items() if value}


def _score(element: str, answer: CheckAnswer) -> str:
    """Return the score where one came that says more than the word."""
    verdict = answer.verdicts.get(element)
    return str(verdict.score) if verdict and 0 < verdict.score < FULL_SCORE else ""


def _place(record: BirthRecord, field: str) -> Location | None:
    try:
        return Location.parse(record.provenance[field])
    except (KeyError, ValueError):
        return None
