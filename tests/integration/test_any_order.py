"""Any order and any repetition of a birth's messages ends in the same record; none submits it twice or skips a person.

Hypothesis makes up what a hospital says of a birth, and the order in which it comes. What the order decides anyhow is
written in docs/integrators.md.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.contract.lifecycle import State
from gateway.contract.ports import ActKind, ActOutcome, ActStatus, Outcome, RegistryStatus
from gateway.contract.revision import leaves_of
from gateway.errors import IllegalMoveError, RegistryUnknownOutcomeError
from gateway.pipeline import operate
from gateway.pipeline.settle import settle
from gateway.pipeline.worker import Workers
from gateway.store import births, queue
from gateway.store.queue import Kind
from tests.simulators.journey import Journey, journey
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gateway.store.births import Birth

_BABIES = itertools.count(1)
_BOUNDED = settings(
    max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@dataclass(frozen=True)
class Baby:
    """An invented baby: no two of a run share a mother."""

    index: int

    @property
    def number(self) -> str:
        return f"{9_000_000 + self.index}"

    @property
    def mother_nik(self) -> str:
        """Return a NIK of serial 90xx: a mother born between 1985 and 2000."""
        month, rest = self.index % 12 + 1, self.index // 12
        return f"351016{41 + rest % 28:02}{month:02}{85 + rest // 28 % 15}90{1 + self.index % 99:02}"

    @property
    def mother_name(self) -> str:
        letters = "".join("ABCDEFGHIK"[int(digit)] for digit in str(self.index))
        return f"IBU CONTOH {letters}"


@dataclass(frozen=True)
class Message:
    """What a hospital says at a moment (minutes after the birth): the fields it fills, and no others."""

    event: str
    minute: int
    pid: tuple[tuple[int, str], ...] = ()
    people: tuple[str, ...] = ()
    results: tuple[tuple[str, str, str], ...] = ()
    copy: int = 0  # the same content under another control id

    @property
    def opens(self) -> bool:
        """Whether it is enough to begin a birth with."""
        return self.event in ("A01", "A28", "A08+")

    def raw(self, baby: Baby) -> bytes:
        sent = f"202503{11 + self.minute // 1440:02}{self.minute // 60 % 24:02}{self.minute % 60:02}00"
        event = self.event.rstrip("+")
        kind = {"R01": "ORU^R01", "T02": "MDM^T02"}.get(event, f"ADT^{event}")
        control = f"{baby.number}-{self.minute}-{self.copy}"
        fields = {1: "1", 3: f"{baby.number}^^^^MR", **dict(self.pid)}
        if self.opens:
            fields = {7: "202503110015", 8: "M", 21: f"{baby.mother_nik}^^^^NI", **fields}
        lines = [
            f"MSH|^~\\&|SIMRS|RSU CEMPAKA CONTOH|AKTAGW|DISDUKCAPIL 3510|{sent}||{kind}|{control}|P|2.5",
            *([f"EVN|{event}|{sent}"] if kind.startswith(("ADT", "MDM")) else []),
            _segment("PID", fields),
            *(_person(who, baby) for who in self.people),
            *(["PV1|1|I||N"] if kind.startswith(("ADT", "MDM")) else ["OBR|1|||55107-7^Birth^LN"]),
        ]
        if event == "T02":
            lines += ["TXA|1|SKL|AP|||||||||SKL/1^RSC|||||LA", "OBX|1|ED|SKL^Surat^99AKTAGW||^AP^PDF^Base64^JVBERi0="]
        lines += [
            f"OBX|{n}|NM|{code}^^LN||{value}|{_UNITS[code]}|||||{status}"
            for n, (code, value, status) in enumerate(self.results, 1)
        ]
        return "\r".join([*lines, ""]).encode()


_UNITS = {"8339-4": "g", "89269-5": "cm", "9272-6": "{score}", "11884-4": "wk"}
_PEOPLE = {
    "mother": "NK1|1|{name}|MTH",
    "mother renamed": "NK1|1|{name} PUTRI|MTH",
    "father": "NK1|2|AYAH CONTOH|FTH||||||||||||||||||||||||||||||3510160407929001^^^^NI",
    "other father": "NK1|2|BAPAK CONTOH|FTH||||||||||||||||||||||||||||||3510160507929002^^^^NI",
    "father without NIK": "NK1|2|AYAH CONTOH|FTH",
    "two mothers": "NK1|1|{name}|MTH\rNK1|2|IBU LAIN|MTH",
    "foreign father": "NK1|2|LIAM CONTOH|FTH" + "|" * 24 + "AUS" + "|" * 6 + "PX0000001^^^^PPN",
    "other foreign father": "NK1|2|NOAH CONTOH|FTH" + "|" * 24 + "AUS" + "|" * 6 + "PX0000002^^^^PPN",
    "father deleted": 'NK1|2|""|FTH||||||||||||||||||||||||||||||""',
}


def _segment(name: str, fields: dict[int, str]) -> str:
    return "|".join([name, *(fields.get(n, "") for n in range(1, max(fields) + 1))])


def _person(who: str, baby: Baby) -> str:
    return _PEOPLE[who].format(name=baby.mother_name)


_NAMES = ("AHMAD RIZKI", "AHMAD RIZQI PRATAMA", "BY NY CONTOH", "NUR'AINI PUTRI")
_PID = st.fixed_dictionaries(
    {},
    optional={
        5: st.sampled_from(_NAMES),
        7: st.sampled_from(["202503110015", "202503110020", "20250311"]),
        8: st.sampled_from(["M", "F", "U"]),
        11: st.sampled_from(["JL SATU^^BANYUWANGI", '""', "JL DUA"]),
        23: st.sampled_from(["BANYUWANGI", "DENPASAR", '""']),
        24: st.sampled_from(["N", "Y"]),
        25: st.sampled_from(["1", "2"]),
    },
).map(lambda fields: tuple(fields.items()))
_RESULTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(_UNITS)), st.sampled_from(["9", "31", "40", '""']), st.sampled_from(["F", "P", "C", "D"])
    ),
    max_size=2,
    unique_by=lambda result: result[0],
).map(tuple)
_FAMILY = st.lists(st.sampled_from(sorted(_PEOPLE)), max_size=1).map(tuple)


@st.composite
def told(draw: st.DrawFn) -> list[Message]:
    """Return what a hospital says of one birth, in the order of its clock."""
    kinds = ["A01", *draw(st.lists(st.sampled_from(["A08", "A08+", "A31", "A03", "A01", "R01", "T02"]), max_size=5))]
    messages = []
    for minute, kind in enumerate(kinds, 30):
        pid = draw(_PID) if kind not in ("R01", "T02") else ()
        people = draw(_FAMILY) if kind not in ("R01", "T02") else ()
        if kind in ("A01", "A08+") and not people:
            people = ("mother",)
        results = draw(_RESULTS) if kind != "T02" else ()
        if kind == "R01" and not results:
            results = (("8339-4", "3150", "F"),)
        messages.append(Message(kind, minute, pid, people, results))
    return messages


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Message], list[tuple[Message, bool]]]:
    """Return the messages in their order, and as they come: permuted, repeated, some waiting together.

    An update that says too little to begin a birth comes behind one that begins it (docs/integrators.md).
    """
    natural = draw(told())
    again = [
        replace(message, copy=draw(st.integers(0, 1)))
        for message in draw(st.lists(st.sampled_from(natural), max_size=3))
    ]
    comes = draw(st.permutations([*natural, *again]))
    first = next(index for index, message in enumerate(comes) if message.opens)
    early = [m for m in comes[:first] if m.event in ("R01", "T02")]
    late = [m for m in comes[:first] if m.event not in ("R01", "T02")]
    comes = [*early, comes[first], *late, *comes[first + 1 :]]
    return natural, [(message, draw(st.booleans())) for message in comes]


@dataclass
class Pair:
    """Two gateways: one hears a birth's messages in their order, the other as they come."""

    runner: asyncio.Runner
    one: Journey
    other: Journey


@pytest.fixture
def pair(postgres_server: Any, database_template: str, tmp_path: Path) -> Iterator[Pair]:
    from tests.conftest import _fresh  # noqa: PLC0415 - two databases of one test

    async def begin() -> tuple[AsyncExitStack, list[Journey]]:
        stack, ways = AsyncExitStack(), []
        for name in ("one", "other"):
            dsn = await stack.enter_async_context(_fresh(postgres_server, database_template))
            ways.append(await stack.enter_async_context(journey(dsn, tmp_path / name)))
        return stack, ways

    with asyncio.Runner() as runner:
        stack, (one, other) = runner.run(begin())
        yield Pair(runner, one, other)
        runner.run(stack.aclose())


async def assign(way: Journey) -> None:
    """Assign what waits, and let nothing leave the house."""
    workers = Workers(way.context)
    while tasks := await queue.claim(way.database, limit=10, lease_s=60, kinds=(Kind.ASSIGN,)):
        for task in tasks:
            await workers._work(task)


async def hear(way: Journey, baby: Baby, messages: Sequence[tuple[Message, bool]]) -> Birth:
    for message, now in messages:
        await way.tell(message.raw(baby))
        if now:
            await assign(way)
    await assign(way)
    return await way.birth(baby.number)


def outcome(birth: Birth) -> dict[str, Any]:
    """Return all that must not depend on the order: values, state, what is wrong."""
    values = {
        path: str(getattr(value, "value", value)) for path, value in leaves_of(birth.record, derived=True).items()
    }
    revealed = {path: value.reveal() for path, value in leaves_of(birth.record).items() if hasattr(value, "reveal")}
    return {
        "state": birth.state.value,
        "findings": sorted(f["code"] for f in birth.findings),
        **values,
        **revealed,
    }


def test_any_order_and_any_repetition_ends_in_the_same_record(pair: Pair) -> None:
    @_BOUNDED
    @given(stories())
    def check(story: tuple[list[Message], list[tuple[Message, bool]]]) -> None:
        natural, comes = story
        baby = Baby(next(_BABIES))
        expected = pair.runner.run(hear(pair.one, baby, [(message, True) for message in natural]))
        found = pair.runner.run(hear(pair.other, baby, comes))
        assert outcome(found) == outcome(expected)

    check()


# ------------------------------------------------------------------------------- never twice, never without a person

# Where F demands a person's decision: no message alone brings a birth on from here.
_DECIDED_BY_PEOPLE = ("AMENDMENT_REVIEW", "REVOCATION_REVIEW")
_HOSPITAL_SAYS = ("A01", "A08", "A08+", "A31", "A03", "A11", "R01", "A40", "A47", "again")
_PEOPLE_SAY = ("release", "retry")
_REGISTRY_SAYS = ("issued", "refused", "asks", "lost", "grants", "denies")


@dataclass(frozen=True)
class Turn:
    """Something that happens to a birth: a message, the registry's word, or time."""

    what: str
    message: Message | None = None


_CHANGES = st.fixed_dictionaries(
    {}, optional={5: st.sampled_from(_NAMES[:3]), 7: st.sampled_from(["202503110015", "202503110020"])}
).map(lambda fields: tuple(fields.items()))
_FATHERS = st.sampled_from([(), (), ("father",), ("foreign father",), ("other foreign father",)])


@st.composite
def turns(draw: st.DrawFn) -> list[Turn]:
    """Return what happens to one baby, beginning with its notice."""
    first = ("mother", *draw(st.sampled_from([(), ("father",), ("foreign father",)])))
    happens = [Turn("A01", Message("A01", 30, ((5, "AHMAD RIZKI"), (23, "BANYUWANGI")), first))]
    kinds = st.sampled_from([*_HOSPITAL_SAYS, *_REGISTRY_SAYS, *_PEOPLE_SAY, "A08", "issued", "release", "time"])
    for minute, kind in enumerate(draw(st.lists(kinds, min_size=3, max_size=12)), 31):
        if kind in _HOSPITAL_SAYS and kind != "again":
            pid = draw(_CHANGES) if kind.startswith(("A01", "A08", "A31")) else ()
            people = draw(_FATHERS) if kind.startswith("A0") else ()
            people = ("mother", *people) if kind in ("A01", "A08+") else people
            results = (("8339-4", "3150", "F"),) if kind == "R01" else ()
            happens.append(Turn(kind, Message(kind, minute, pid, people, results)))
        else:
            happens.append(Turn(kind))
    return happens


def father_of(birth: Birth) -> dict[str, str]:
    leaves = leaves_of(birth.record).items()
    return {path: str(getattr(v, "reveal", lambda v=v: v)()) for path, v in leaves if path.startswith("father.")}


class Town:
    """One hospital, one registry, and what happened to one baby there."""

    def __init__(self, way: Journey, baby: Baby) -> None:
        self.way = way
        self.baby = baby
        self.told: list[bytes] = []
        self.number = baby.number
        self.seen = len(way.registry.submissions)
        self.released: dict[str, dict[str, str]] = {}  # by finding: the father an officer let pass

    async def births(self) -> list[Birth]:
        rows = await self.way.database.fetch(
            "SELECT id FROM births WHERE medical_record LIKE $1 ORDER BY received_at", f"{self.baby.number}%"
        )
        async with self.way.database.connection() as connection:
            return [await births.read(connection, row["id"]) for row in rows]

    async def happen(self, turn: Turn) -> None:
        match turn.what:
            case "time":
                await self.work(hurried=True)
            case "again":
                await self.way.tell(self.told[len(self.told) // 2])
            case what if what in _REGISTRY_SAYS:
                await self.registry(what)
            case what if what in _PEOPLE_SAY:
                await self.person(what)
            case _:
                await self.hospital(turn)

    async def hospital(self, turn: Turn) -> None:
        assert turn.message is not None
        raw = turn.message.raw(self.baby)
        if turn.what in ("A40", "A47"):  # another number of the same baby, known or not
            raw = raw.rstrip(b"\r") + f"\rMRG|{self.baby.number}^^^^MR\r".encode()
            raw = raw.replace(f"|{self.baby.number}^^^^MR".encode(), f"|{self.baby.number}-2^^^^MR".encode(), 1)
            raw = b"\r".join(line for line in raw.split(b"\r") if not line.startswith(b"PV1"))
        before = {birth.id: birth.state.value for birth in await self.births()}
        self.told.append(raw)
        await self.way.tell(raw)
        await self.work()
        self.decided_by_people(await self.births())
        for birth in await self.births():
            was = before.get(birth.id)
            if was in _DECIDED_BY_PEOPLE:
                assert birth.state.value in _DECIDED_BY_PEOPLE, (
                    f"{turn.what} moved it from {was} to {birth.state.value}"
                )

    async def person(self, what: str) -> None:
        for birth in await self.births():
            if what == "release" and birth.state is State.REVIEW:
                codes = {f["code"] for f in birth.findings if f["state"] == "REVIEW"}
                self.released |= dict.fromkeys(codes, father_of(birth))
            with suppress(IllegalMoveError):
                await getattr(operate, what)(replace(self.way.desk(), config=self.way.context.config), birth.id)
        await self.work()

    async def registry(self, what: str) -> None:
        if what == "lost":
            self.way.registry.loses_answer = RegistryUnknownOutcomeError("the answer was lost")
            return
        for birth in await self.births():
            if birth.submitted and birth.state is State.IN_PROCESS:
                await self._say(birth, what)
        await self.work()

    async def _say(self, birth: Birth, what: str) -> None:
        statuses = {
            "issued": RegistryStatus.ISSUED,
            "refused": RegistryStatus.REFUSED,
            "asks": RegistryStatus.NEEDS_DATA,
        }
        told: dict[str, Any] = {"status": statuses.get(what, RegistryStatus.UNKNOWN)}
        if what == "issued":
            told["certificate"] = certificate(f"3510-LU-11032025-{self.baby.index:04}{len(self.told)}"[:27])
        if what in ("grants", "denies"):
            act = next((a for a in reversed(self.way.registry.acted) if a.birth_id == str(birth.id)), None)
            if act is None or act.kind is not ActKind.WITHDRAW:
                return
            decided = ActStatus.GRANTED if what == "grants" else ActStatus.REFUSED
            status = RegistryStatus.WITHDRAWN if what == "grants" else RegistryStatus.UNKNOWN
            told = {"status": status, "acts": (ActOutcome(act.key, decided, "" if what == "grants" else "TIDAK"),)}
        async with self.way.database.transaction() as connection:
            locked = await births.lock(connection, birth.id)
            outcome_ = Outcome(str(birth.id), locked.submitted, reference=locked.reference, **told)
            await settle(self.way.context, connection, locked, outcome_, actor="registry", step="callback")

    async def work(self, *, hurried: bool = False) -> None:
        if hurried:
            await self.way.hurry()
        await self.way.work()

    def decided_by_people(self, found: Sequence[Birth]) -> None:
        """Fail where a birth is at the registry with a finding that nobody let pass, or with another father than it."""
        for birth in found:
            if birth.state not in (State.READY, State.SEALED, State.SUBMITTED) and not (
                birth.state is State.IN_PROCESS and birth.submitted == birth.revision
            ):
                continue
            open_ = {f["code"] for f in birth.findings if f["state"]} - birth.accepted
            assert not open_, f"{birth.state.value} with {open_}"
            if "FATHER_FOREIGN" in {f["code"] for f in birth.findings}:
                assert self.released.get("FATHER_FOREIGN") == father_of(birth), "nobody let this father pass"

    async def check(self) -> None:
        """Fail where the office got a birth twice, or one a person should have looked at."""
        found = await self.births()
        ids = {str(birth.id) for birth in found}
        sent = [s for s in self.way.registry.submissions[self.seen :] if s.birth_id in ids]
        creates = dict.fromkeys(s.idempotency_key for s in sent if not s.amends)
        ended = await self.way.database.fetch(
            """SELECT count(*) AS n FROM events WHERE birth_id = ANY($1::uuid[]) AND from_state <> to_state
               AND (to_state IN ('REFUSED') OR (to_state = 'CANCELLED' AND step <> 'assign'))""",
            [birth.id for birth in found],
        )
        assert len(creates) <= 1 + ended[0]["n"], f"{len(creates)} applications of one baby"
        for key in creates:  # the same bytes, whatever was tried again
            assert len({s.payload for s in sent if s.idempotency_key == key}) == 1
        issued = await self.way.database.fetch(
            "SELECT count(*) AS n FROM certificates WHERE birth_id = ANY($1::uuid[])", [birth.id for birth in found]
        )
        assert issued[0]["n"] <= 1, f"{issued[0]['n']} certificates of one baby"


def test_no_sequence_of_messages_submits_a_birth_twice_or_skips_a_person(pair: Pair) -> None:
    @_BOUNDED
    @given(turns())
    def check(happens: list[Turn]) -> None:
        async def play() -> None:
            way = pair.one
            way.registry.loses_answer = None
            town = Town(way, Baby(next(_BABIES)))
            for turn in happens:
                await town.happen(turn)
            await town.work(hurried=True)
            await town.check()
            await way.database.fetch("UPDATE tasks SET due_at = now() + interval '1 year'")

        pair.runner.run(play())

    check()
