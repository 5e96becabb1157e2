"""Performs a dialogue (tests.dialogues.script has the grammar) on the journey's parts and a real database.

After each step all that is due is done, as workers would; what was put off waits for `clock`. A dialogue ends with
every answer and every letter to the hospital told of.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from uuid import UUID

from gateway.contract.finding import Finding
from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import ActKind, ActOutcome, ActStatus, Outcome, RegistryStatus
from gateway.contract.precedence import Source
from gateway.contract.revision import leaves_of
from gateway.errors import (
    ProcotError,
    RegistryDocumentError,
    RegistryRefusedError,
    RegistryTooLateError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
)
from gateway.pipeline import clocks, form, legal, officer, operate
from gateway.pipeline.form import FormRefusedError, FormTooLateError, Teller
from gateway.pipeline.frames import Frames
from gateway.pipeline.officer import Decision, Issue, Reason, Word
from gateway.pipeline.settle import settle
from gateway.store import acts, attachments, births, submissions
from gateway.store.leases import Wanted
from tests.simulators.facilities import CLOCK, sample
from tests.simulators.journey import Journey, journey
from tests.simulators.scripted_registry import PDF, certificate, checks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gateway.contract.ports import Certificate
    from gateway.store.births import Birth
    from tests.dialogues.script import Dialogue, Step

_SAYS = {
    "works": RegistryStatus.IN_PROCESS,
    "refuses": RegistryStatus.REFUSED,
    "asks": RegistryStatus.NEEDS_DATA,
    "withdraws": RegistryStatus.WITHDRAWN,
    "revokes": RegistryStatus.WITHDRAWN,
}
_LETTERS_AT_ONCE = 3
_HOURS = {"minute": 1 / 60, "hour": 1, "day": 24}


@dataclass
class Answer:
    """One acknowledgement: its lines, and those of the batch around it."""

    lines: list[str]
    around: list[str] = field(default_factory=list)

    def fields(self, name: str) -> list[list[str]]:
        return [line.split("|") for line in self.lines if line.startswith(name)]

    @property
    def code(self) -> str:
        return self.fields("MSA")[0][1]

    @property
    def codes(self) -> set[str]:
        """ERR-5.1 of every problem."""
        return {err[5].split("^")[0] for err in self.fields("ERR") if len(err) > 5 and err[5]}


class Stage:
    """What a dialogue is performed on."""

    def __init__(self, way: Journey, now: list[dt.datetime], *, follows: bool) -> None:
        self.way = way
        self.now = now
        self.answers: list[Answer] = []
        self.answer: Answer | None = None
        self.letters = 0  # how many of those that the listener got were told of
        self.names: frozenset[str] = frozenset()
        self.leases: dict[str, dict[str, Any]] = {}
        self.frames = Frames(way.intake, way.intake._answerer, batch_answers="batch", messages_per_block=100)
        self.follows = follows  # the clock is never before MSH-7, but where the page says that it stands

    async def perform(self, step: Step) -> None:
        """Do one step."""
        await _STEPS[step.kind](self, step)

    async def settle(self) -> None:
        """Do all that is due."""
        await self.way.work()

    # ------------------------------------------------------------------------------------------------- messages

    async def send(self, step: Step) -> None:
        self.all_told()
        raw = sample(step.text.split()[1]) if step.text.startswith("sample ") else _bytes(step.text)
        if self.follows and (sent := _sent_at(raw)):
            self.now[0] = max(self.now[0], sent)
        frames = await self.frames.take(raw, peer="127.0.0.1", certificate_names=self.names)
        self.answers = [answer for sent in frames for answer in _answers(sent)]
        self.answer = None
        await self.settle()

    async def hear(self, step: Step) -> None:
        if step.text[3:4] == "|":
            assert self.answer is not None, "no answer was told of yet"
            lines = self.answer.lines + self.answer.around
            assert any(_fits(line, step.text) for line in lines), f"no such line in {lines}"
            return
        code, *codes = step.text.split()
        if code == "nothing":
            assert not self.answers, f"an answer came: {[a.lines for a in self.answers]}"
            return
        assert self.answers, "no answer came"
        self.answer = self.answers.pop(0)
        assert (self.answer.code, self.answer.codes) == (code, set(codes)), self.answer.lines

    def all_told(self) -> None:
        assert not self.answers, f"an answer was not told of: {self.answers[0].lines}"

    async def be_told(self, step: Step) -> None:
        received = self.way.hospital.received
        if step.text == "nothing":
            assert self.letters == len(received), f"a letter came: {received[self.letters].decode()}"
            return
        for wanted in step.text.split(", "):
            assert self.letters < len(received), f"no {wanted} came"
            lines = received[self.letters].decode("latin-1").rstrip("\r").split("\r")
            kind = "^".join(_field(lines, "MSH-9").split("^")[:2])
            assert kind == wanted, lines
            self.letters += 1
        for name, value in step.facts():
            assert fnmatchcase(_field(lines, name), value), f"{name} is {_field(lines, name)!r}"

    # --------------------------------------------------------------------------------------------------- births

    async def find(self, number: str) -> Birth | None:
        rows = await self.way.database.fetch("SELECT id FROM births WHERE medical_record = $1", number)
        assert len(rows) < 2, f"{len(rows)} births have the number {number}"
        if not rows:
            return None
        async with self.way.database.connection() as connection:
            return await births.read(connection, rows[0]["id"])

    async def birth(self, number: str) -> Birth:
        found = await self.find(number)
        assert found is not None, f"there is no birth {number}"
        return found

    async def look(self, step: Step) -> None:
        number, state, *codes = step.text.split()
        birth = await self.find(number)
        if state == "none":
            assert birth is None, f"there is a birth in {birth.state.value if birth else ''}"
            return
        assert birth is not None, f"there is no birth {number}"
        found = (birth.state.value, {f["code"] for f in birth.findings})
        wanted = found[1] if codes == ["*"] else set(codes)
        assert found == (state, wanted), f"it is {found}"
        values = await self._values(birth)
        for name, value in step.facts():
            said = await self._twins(birth, value) if name == "twin of" else values.get(name, "-")
            if name == "missing":  # these, and perhaps more
                assert set(value.split(", ")) <= set(said.split(", ")), f"missing is {said!r}"
            else:
                assert fnmatchcase(said, value), f"{name} is {said!r}"

    async def _values(self, birth: Birth) -> dict[str, str]:
        async with self.way.database.connection() as connection:
            issued = await submissions.certificate(connection, birth.id)
            papers = await attachments.of_birth(connection, birth.id)
            (row,) = await connection.fetch("SELECT missing, deadline FROM births WHERE id = $1", birth.id)
            last = await connection.fetchval(
                "SELECT reason FROM events WHERE birth_id = $1 ORDER BY id DESC LIMIT 1", birth.id
            )
        told = {
            "revision": str(birth.revision),
            "priority": str(birth.priority),
            "office": birth.office,
            "restricted": birth.restricted or "-",
            "certificate": issued.number if issued else "-",
            "missing": ", ".join(row["missing"] or ()) or "-",
            "deadline": f"{row['deadline']:%Y-%m-%d}" if row["deadline"] else "-",
            "documents": ", ".join(p["kind"] for p in papers) or "-",
            "last": last,
        }
        return told | {path: _shown(value) for path, value in leaves_of(birth.record, derived=True).items()}

    async def _twins(self, birth: Birth, other: str) -> str:
        one, two = birth.twin_group, (await self.birth(other)).twin_group
        return other if one is not None and one == two else "nobody"

    # ------------------------------------------------------------------------------------------------- registry

    async def registry(self, step: Step) -> None:
        first, verb, *words = step.text.replace(":", " ").split()
        if first == "next":
            self._next(verb, words)
            return
        birth = await self.birth(first)
        if verb == "has":
            assert (found := await self._received(birth)) == [w.strip(",") for w in words], f"it has {found}"
            return
        if (verb, words[:2]) == ("takes", ["no", "change"]):  # of what it works on: its next answer says so
            stands = Outcome(str(birth.id), birth.submitted, RegistryStatus.IN_PROCESS, reference=birth.reference)
            self.way.registry.on_submit.append(RegistryTooLateError("too late", reason=words[2]))
            self.way.registry.on_ask.append(stands)
            return
        await self._say(birth, verb, words, step)
        await self.settle()

    def _next(self, what: str, words: list[str]) -> None:
        registry = self.way.registry
        said, reason = words[0], (words[1] if len(words) > 1 else "")
        match what, said:
            case "check", _:
                registry.on_check.append(checks(*(Finding(code) for code in words)))
            case "submission", "lost":
                registry.loses_answer = RegistryUnknownOutcomeError("the answer was lost")
            case "submission", "away":
                registry.on_submit.append(RegistryUnavailableError("away"))
            case "submission", "refused":
                registry.on_submit.append(RegistryRefusedError("refused", reason=reason))
            case "file", "missing":
                registry.on_fetch.append(RegistryDocumentError("the file is not at its address"))
            case "file", "away":
                registry.on_fetch.append(RegistryUnavailableError("nobody answers there"))
            case "act", "refused":
                registry.on_act.append(RegistryRefusedError("refused", reason=reason))
            case "file", "other":
                registry.on_fetch.append(b"%PDF-1.7 ANOTHER FILE")
            case _:
                raise AssertionError(f"a registry does not know {what} {said}")

    async def _received(self, birth: Birth) -> list[str]:
        sent = [s for s in self.way.registry.submissions if s.birth_id == str(birth.id)]
        keys = list(dict.fromkeys((s.idempotency_key, "amend" if s.amends else "create") for s in sent))
        done = [a for a in self.way.registry.acted if a.birth_id == str(birth.id)]
        return [kind for _, kind in keys] + [
            kind for _, kind in dict.fromkeys((a.key, a.kind.value) for a in done)
        ] or ["nothing"]

    async def _say(self, birth: Birth, verb: str, words: list[str], step: Step) -> None:
        if verb in ("grants", "denies"):
            await self._decide(birth, verb, words, step)
            return
        if verb == "issues":
            told: dict[str, Any] = {"status": RegistryStatus.ISSUED, "certificate": _certificate(words[0], step)}
        else:
            told = {"status": _SAYS[verb], "reason": words[0] if words else ""}
        await self._tell(birth, Outcome(str(birth.id), birth.submitted, reference=birth.reference, **told))

    async def _decide(self, birth: Birth, verb: str, words: list[str], step: Step) -> None:
        kind = ActKind(words[0])
        async with self.way.database.connection() as connection:
            act = await acts.last(connection, birth.id, kind)
        assert act is not None, f"no {kind.value} was asked for"
        reason = words[1] if verb == "denies" else ""
        decided = ActOutcome(act.key, ActStatus.REFUSED if verb == "denies" else ActStatus.GRANTED, reason)
        status, issued = RegistryStatus.UNKNOWN, None
        if verb == "grants" and kind in (ActKind.WITHDRAW, ActKind.REVOKE):
            status = RegistryStatus.WITHDRAWN
        elif verb == "grants" and kind is ActKind.CORRECT:
            status, issued = RegistryStatus.ISSUED, _certificate(words[1], step)
        revision = act.revision if kind is ActKind.CORRECT else birth.submitted
        await self._tell(birth, Outcome(str(birth.id), revision, status, certificate=issued, acts=(decided,)))

    async def _tell(self, birth: Birth, outcome: Outcome) -> None:
        async with self.way.database.transaction() as connection:
            locked = await births.lock(connection, birth.id)
            await settle(self.way.context, connection, locked, outcome, actor="registry", step="callback")

    # --------------------------------------------------------------------------------------------------- people

    async def form(self, step: Step) -> None:
        """`form NUMBER`, its JSON indented below; then `taken`, or `refused CODES`, as the first indented word."""
        birth = await self.birth(step.text.split()[0])
        verdict, *codes = step.more.pop().removeprefix("->").split()
        try:
            read = form.read(" ".join(step.more).encode(), self.way.context.config.limits)
            await form.take(self.way.context, birth.id, read, Teller("ward:one", Source.FORM))
            found = ("taken", set[str]())
        except FormRefusedError as refusal:
            found = ("refused", {problem.code for problem in refusal.problems})
        except FormTooLateError:
            found = ("late", set())
        assert found == (verdict, set(codes)), f"it is {found}"
        await self.settle()

    async def officer(self, step: Step) -> None:
        words = step.text.split()
        refused = words[-1] == "(refused)"
        verb, number, *words = words[:-1] if refused else words
        birth = await self.birth(number)
        context = self.way.context
        desk = replace(self.way.desk(), config=context.config, clock=context.clock)
        simple = {"release": operate.release, "hold": operate.hold, "retry": operate.retry, "cancel": operate.cancel,
                  "withdraw": legal.withdraw, "keep": legal.keep_issued, "pack": operate.hand_over}  # fmt: skip
        try:
            match verb:
                case "amend":
                    await legal.amend(desk, birth.id, basis=words[0], order=" ".join(words[1:]))
                case "restrict":
                    await operate.restrict(desk, birth.id, words[0])
                case _:
                    await simple[verb](desk, birth.id)
        except ProcotError:
            assert refused, "it was refused"
        else:
            assert not refused, "it was not refused"
        await self.settle()

    async def office(self, step: Step) -> None:
        """`office 5171 takes NUMBER`, or one of its outcomes."""
        code, verb, number, *words = step.text.split()
        actor = f"officer:{code}"
        if verb == "takes":
            wanted = Wanted(office=code, restricted=False, count=10)
            items = await officer.lease(self.way.context, wanted, actor=actor, seconds=900)
            self.leases |= {item["mrn"]: item for item in items}
            found = " ".join(sorted(item["mrn"] for item in items)) or "nothing"
            assert found == " ".join(sorted([number, *words])), f"it takes {found}"
            return
        item = self.leases[number]
        told: dict[str, Any] = {}
        if verb == "issue":
            told["issue"] = Issue(words[0], words[1], words[2], self.now[0], document=PDF)
        elif words:
            told["reason"] = Reason(words[0])
        word = Word(Decision(verb), UUID(item["lease"]), actor, hashlib.sha256(step.text.encode()).digest(), **told)
        await officer.decide(self.way.context, UUID(item["id"]), word)
        await self.settle()

    async def hospital(self, step: Step) -> None:
        """`hospital answers AE` to the next letter; `LATE` is no answer within its time."""
        self.way.hospital.script += step.text.split()[1:]

    async def sender(self, step: Step) -> None:
        """`sender shows NAME`: the name in its TLS certificate."""
        self.names = frozenset({step.text.removeprefix("shows ").strip()})

    async def clock(self, step: Step) -> None:
        """`clock +3 days`: time passes, what waits is tried again, and whoever must be told of a day is told."""
        number, unit = step.text.removeprefix("+").split()
        self.now[0] += dt.timedelta(hours=float(number) * _HOURS[unit.rstrip("s")])
        self.way.forget_pauses()
        self.way.context.services._down.clear()
        await self.way.hurry()
        await clocks.escalate(self.way.context)
        await self.settle()

    def end(self) -> None:
        """Fail where something was not told of."""
        self.all_told()
        left = [control.split(b"|")[8] for control in self.way.hospital.received[self.letters :]]
        assert not left, f"letters to the hospital that the dialogue does not tell of: {left[:_LETTERS_AT_ONCE]}"


_STEPS = {
    ">": Stage.send,
    "<": Stage.hear,
    "<<": Stage.be_told,
    "=": Stage.look,
    "!": Stage.registry,
    "clock": Stage.clock,
    "form": Stage.form,
    "officer": Stage.officer,
    "office": Stage.office,
    "hospital": Stage.hospital,
    "sender": Stage.sender,
}


@asynccontextmanager
async def stage(dialogue: Dialogue, dsn: str, directory: Path) -> AsyncIterator[Stage]:
    """Lend the parts, configured as the page says."""
    settings = json.loads(json.dumps(dialogue.settings, default=str))
    now = [dt.datetime.fromisoformat(settings.pop("clock", CLOCK.isoformat()))]
    profile, follows = settings.pop("hospital", {}), not settings.pop("clock_stands", False)
    async with journey(dsn, directory, settings=settings, now=lambda: now[0], **profile) as way:
        yield Stage(way, now, follows=follows)


async def perform(dialogue: Dialogue, dsn: str, directory: Path) -> None:
    """Perform a dialogue; raises AssertionError that names the line, and what was there instead."""
    async with stage(dialogue, dsn, directory) as scene:
        for number, step in enumerate(dialogue.steps):
            following = dialogue.steps[number + 1 : number + 2]
            assert step.kind != ">" or (following and following[0].kind == "<"), f"line {step.line}: no answer below it"
            try:
                await scene.perform(step)
            except Exception as error:
                raise AssertionError(f"{dialogue.name}.md:{step.line}: {step.kind} {step.text}\n  {error!r}") from error
        scene.end()


def _bytes(text: str) -> bytes:
    return f"{text}\r".encode()


def _sent_at(raw: bytes) -> dt.datetime | None:
    header = next((line for line in raw.decode("latin-1").split("\r") if line.startswith("MSH")), "").split("|")
    digits = header[6][:14] if len(header) > 6 else ""
    return dt.datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=CLOCK.tzinfo) if digits.isdigit() else None


def _answers(frame: bytes) -> list[Answer]:
    lines = frame.decode("latin-1").rstrip("\r").split("\r")
    around = [line for line in lines if line[:3] in ("FHS", "BHS", "BTS", "FTS")]
    answers: list[Answer] = []
    for line in lines:
        if line.startswith("MSH"):
            answers.append(Answer([], around))
        if line not in around:
            answers[-1].lines.append(line)
    return answers


def _fits(line: str, pattern: str) -> bool:
    """Tell whether a line has the fields of a pattern."""
    told, wanted = line.split("|"), pattern.split("|")
    return len(told) >= len(wanted) and all(fnmatchcase(a, b) for a, b in zip(told, wanted, strict=False))


def _field(lines: list[str], name: str) -> str:
    """Return `PID-5`, `PID-3[NI]` (the repetition of that type), or the value of an OBX by its code, `OBX NO_KK`."""
    if name.startswith("OBX "):
        code = name.removeprefix("OBX ")
        found = (line.split("|") for line in lines if line.startswith("OBX"))
        return next((fields[5] for fields in found if fields[3].split("^")[0] == code), "")
    segment, _, number = name.partition("-")
    number, _, kind = number.partition("[")
    fields = next((line for line in lines if line.startswith(segment)), "").split("|")
    index = int(number) - (segment == "MSH")
    value = fields[index] if index < len(fields) else ""
    if kind:
        return next((r.split("^")[0] for r in value.split("~") if r.split("^")[4:5] == [kind.rstrip("]")]), "")
    return value


def _shown(value: object) -> str:
    if isinstance(value, Personal):
        return value.reveal()
    if isinstance(value, Enum):
        return str(value.value)
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _certificate(number: str, step: Step) -> Certificate:
    """Return what was issued: indented lines say with which NIK, and what the akta says otherwise."""
    changes: dict[str, Any] = {}
    for name, value in step.facts():
        if name == "NIK":
            changes["child_nik"] = Nik(value)
        else:
            changes.setdefault("registered", {})[name] = Personal(value)
    return certificate(number, **changes)
