"""Dukcapil as the gateway sees it: the parents' element check, the document, submission, outcome, callbacks.

The only public names are `open_dukcapil` (the entry point gateway.registry) and `Dukcapil`. It keeps no births; what
it remembers is until when not to call the element check again, and, by keyed hashes alone, whose data agreed today.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import re
import ssl
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import structlog

from adapters.dukcapil import payload
from adapters.dukcapil.agreements import Agreements
from adapters.dukcapil.client import Client
from adapters.dukcapil.codes import ACTS, ELEMENTS, NOT_OFFERED
from adapters.dukcapil.keyring import KeyRing
from adapters.dukcapil.replies import CheckAnswer, Looked, Trouble, Verdict
from gateway.contract.finding import Finding
from gateway.contract.masked import Personal
from gateway.contract.ports import (
    ActKind,
    Ask,
    Certificate,
    ElementVerdict,
    Outcome,
    ParentCheck,
    RegistrySettings,
    SignedAct,
    Submission,
    TwinGroup,
)
from gateway.contract.record import BirthRecord, Parent, Sex, Variant
from gateway.errors import (
    ConfigError,
    RegistryLoginError,
    RegistryProtocolError,
    RegistryQuotaError,
    RegistryRefusedError,
    RegistryUnavailableError,
    SignatureError,
)
from gateway.hl7.location import Location

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from gateway.contract.ports import RegistryAdapter

CALLBACK_WINDOW_S = 300  # X-Waktu, domain C.4
MAX_CALLBACK_BYTES = 1024 * 1024
# Sent as TRESHOLD (sic, domain 0.12): below it the service itself says "Tidak Sesuai".
SERVICE_THRESHOLD = 80
_WIB = dt.timezone(dt.timedelta(hours=7), "WIB")
_SEX = {Sex.MALE: "Laki-laki", Sex.FEMALE: "Perempuan"}
_NIK = re.compile(r"\d{16}", re.ASCII)
# Where in the record the thing is that a finding speaks of.
_FULL_SCORE = 100
# Element: the first part of its option `..._threshold`, and the least score that agrees.
_THRESHOLDS = {
    "NAMA_LGKP": ("name", 95),
    "TGL_LHR": ("date", 100),
    "JENIS_KLMIN": ("sex", 100),
    "NO_KK": ("kk", 100),
    "STATUS_KAWIN": ("marital", 100),
}
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
class Options:
    """`registry.options`: settings that only this adapter knows."""

    check_url: str  # default: registry.url
    institution: str  # path part of the element check; default: registry.office
    thresholds: Mapping[str, int]  # by element: below its score an element does not agree (domain F 91)
    lower_case_keys: bool  # deployments differ in the case they want (domain 0.13)
    login_pause_s: float  # how long to wait before looking whether a person mended a refused login
    cache_s: float  # how long an agreement is believed without asking again
    acts: frozenset[str]  # what the office takes beside submissions: the last parts of the paths of domain C.4
    married: str  # the register's word for "married"; empty: the agreement does not grant STATUS_KAWIN
    look_up: str  # path of the look-up by NIK; empty: the agreement with Dukcapil does not grant it
    look_up_fills: str  # what of the full record may fill a gap: the family card alone, or the place of birth too
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


@dataclass(frozen=True, slots=True)
class _Closed:
    """Why the element check is left alone, since when and until when."""

    trouble: Trouble
    at: dt.datetime
    until: dt.datetime


_Answer = TypeVar("_Answer", CheckAnswer, Looked)


def open_dukcapil(settings: RegistrySettings) -> RegistryAdapter:
    """Return the adapter; it connects with its first call. Raises ConfigError naming the setting that is wrong."""
    options = _options(settings)
    for key, url in (("registry.url", settings.url), ("registry.options.check_url", options.check_url)):
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
            raise ConfigError(f"{key} = {url!r}: write an http:// or https:// address")
    if not settings.check_user:
        log.warning("registry.check_not_configured", step="check")
    return Dukcapil(settings, options)


class Dukcapil:
    """A RegistryAdapter (gateway.contract.ports)."""

    name = "dukcapil"

    def __init__(self, settings: RegistrySettings, options: Options) -> None:
        self._settings = settings
        self._options = options
        self._client = Client(settings, check_url=options.check_url.rstrip("/"), tls=_tls(options))
        self._keys = KeyRing(settings.callback_jwks)
        self._agreed = Agreements(seconds=options.cache_s, clock=settings.clock)
        self._closed: _Closed | None = None
        self._door = asyncio.Lock()
        self._let_in = False

    @property
    def check_identity(self) -> str:
        """As whom the element check is called, as a digest: one that was refused says nothing about another."""
        settings = self._settings
        who = (self._options.check_url, settings.check_user, settings.check_password, settings.check_ip)
        return hashlib.sha256(json.dumps(who).encode()).hexdigest()

    def reopen_checks(self, since: dt.datetime) -> None:
        """Call the element check again, where it was closed before `since`: a person mended the cause."""
        if self._closed is not None and self._closed.at <= since:
            self._closed = None

    # ---------------------------------------------------------------------------------------- element check

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

    # ------------------------------------------------------------------------------------------- submission

    def document(self, record: BirthRecord, *, birth_id: str, revision: int, twins: TwinGroup | None) -> dict[str, Any]:
        """Map a record to the body of domain C.4."""
        return payload.document(record, birth_id=birth_id, revision=revision, office=self._settings.office, twins=twins)

    async def submit(self, submission: Submission) -> Outcome:
        """Send the signed bytes (domain C.4)."""
        return await self._client.submit(submission)

    @property
    def amends(self) -> bool:
        """Whether this office takes perbaikan."""
        return "perbaikan" in self._options.acts

    @property
    def acts(self) -> frozenset[ActKind]:
        """Which of pembatalan, pembetulan, berkas this office takes."""
        return frozenset(kind for kind, word in ACTS.items() if word in self._options.acts)

    def act_document(self, ask: Ask, record: BirthRecord) -> dict[str, Any]:
        """Map an act to its body."""
        return payload.act_document(ask, record, office=self._settings.office)

    async def act(self, act: SignedAct) -> Outcome:
        """Send an act; one that this office does not take over its interface is refused here."""
        if act.kind not in self.acts:
            raise RegistryRefusedError(
                f"the office takes no {ACTS[act.kind]} over its interface (registry.options.acts): call the office",
                reason=NOT_OFFERED,
            )
        return await self._client.act(act)

    async def ask(self, *, birth_id: str, revision: int, reference: str) -> Outcome:
        """Ask where a case is."""
        return await self._client.ask(birth_id=birth_id, revision=revision, reference=reference)

    async def fetch_document(self, certificate: Certificate) -> bytes:
        """Fetch the certificate file."""
        return await self._client.download(certificate.document_url)

    async def read_callback(self, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Check who says it and when, then read what is said (domain C.4).

        1. the signature, by a key of the registry, over exactly `body`; 2. the signed time `iat` is within five
        minutes of ours; 3. X-Waktu, which alone anybody could change, says the same time; 4. the body.
        Raises SignatureError, RegistryProtocolError; RegistryUnavailableError where the keys cannot be had.
        """
        if len(body) > MAX_CALLBACK_BYTES:
            raise RegistryProtocolError(f"the callback is longer than {MAX_CALLBACK_BYTES} bytes")
        lower = {key.lower(): value for key, value in headers.items()}
        verified = await self._keys.verify(lower.get("x-tanda-tangan", ""), body)
        now = self._settings.clock().timestamp()
        if verified.issued_at is None or abs(now - verified.issued_at) > CALLBACK_WINDOW_S:
            raise SignatureError("the callback's signed time (iat) is missing or more than five minutes off")
        if _seconds(lower.get("x-waktu", "")) != verified.issued_at:
            raise SignatureError("the callback's X-Waktu is not the signed time (iat)")
        return self._client.read_case(body)

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()


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
    return str(verdict.score) if verdict and 0 < verdict.score < _FULL_SCORE else ""


def _place(record: BirthRecord, field: str) -> Location | None:
    try:
        return Location.parse(record.provenance[field])
    except (KeyError, ValueError):
        return None


def _seconds(text: str) -> int | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return int(moment.timestamp()) if moment.tzinfo else None


def _tls(options: Options) -> ssl.SSLContext | None:
    """Return the context for a private CA and our client certificate (domain C.4, mTLS), or None for the usual one."""
    if not (options.ca_file or options.cert_file):
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
        if options.cert_file:
            context.load_cert_chain(options.cert_file, options.key_file or None)
    except OSError as error:
        raise ConfigError(f"registry.options: ca_file, cert_file or key_file cannot be used ({error})") from error
    return context


def _options(settings: RegistrySettings) -> Options:
    given = dict(settings.options)
    thresholds = {
        element: int(_number(given, f"{key}_threshold", default=default, low=SERVICE_THRESHOLD, high=_FULL_SCORE))
        for element, (key, default) in _THRESHOLDS.items()
    }
    options = Options(
        check_url=given.pop("check_url", "") or settings.url,
        institution=given.pop("institution", "") or settings.office,
        thresholds=thresholds,
        lower_case_keys=_choice(given, "key_case", ("upper", "lower")) == "lower",
        login_pause_s=_number(given, "login_pause_s", default=300, low=10, high=86_400),
        cache_s=3600 * _number(given, "cache_hours", default=24, low=0, high=24),
        married=given.pop("married", ""),
        look_up=given.pop("look_up", ""),
        look_up_fills=_choice(given, "look_up_fills", ("family_card", "record")),
        acts=_several(given, "acts", ("perbaikan", "pembatalan", "pembetulan", "berkas")),
        ca_file=given.pop("ca_file", ""),
        cert_file=given.pop("cert_file", ""),
        key_file=given.pop("key_file", ""),
    )
    if given:
        raise ConfigError(f"registry.options.{min(given)}: unknown key of the adapter dukcapil")
    for key, text in (("institution", options.institution), ("look_up", options.look_up or "-")):
        if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
            raise ConfigError(f"registry.options.{key}: letters, digits, '.', '_' and '-' only")
    return options


def _number(given: dict[str, str], key: str, *, default: float, low: float, high: float) -> float:
    text = given.pop(key, "") or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ConfigError(f"registry.options.{key} = {text!r}: write a number from {low} to {high}")
    return value


def _several(given: dict[str, str], key: str, choices: tuple[str, ...]) -> frozenset[str]:
    """Read words with spaces or commas between them; none given is all of them, `none` is none."""
    text = given.pop(key, "") or " ".join(choices)
    words = frozenset(text.replace(",", " ").split()) - {"none"}
    if words - set(choices):
        raise ConfigError(f"registry.options.{key} = {text!r}: write some of {', '.join(choices)}, or none")
    return words


def _choice(given: dict[str, str], key: str, choices: tuple[str, ...]) -> str:
    text = given.pop(key, "") or choices[0]
    if text not in choices:
        raise ConfigError(f"registry.options.{key} = {text!r}: write {' or '.join(choices)}")
    return text
