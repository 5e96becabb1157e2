"""A message changed at one place, and what the gateway says to it at the door: for cases that need no database."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from adapters.hospital.baseline import BaselineHospital
from gateway.contract.lifecycle import State, judged_state
from gateway.pipeline.answer import Answerer
from gateway.pipeline.verdict import Judge, in_view_of
from tests.simulators.facilities import CLOCK, facility
from tests.simulators.journey import notice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.contract.ports import Effect
    from gateway.contract.record import BirthRecord

NOW = CLOCK.astimezone(dt.UTC)
# Texts of sample 01 made into another family's, a day before: another birth, and none that resembles it.
OTHER_FAMILY = (
    ("SITI AMINAH", "DEWI LESTARI"),
    ("BUDI SANTOSO", "AGUS WIBOWO"),
    ("AHMAD RIZKI PRATAMA", "BAYU ADI NUGROHO"),
    ("3510165203959001", "3510165203909002"),
    ("|19950312|", "|19900312|"),
    ("3510160407929001", "3510160407889002"),
    ("|19920704|", "|19880704|"),
    ("3510161405189001", "3510161405159002"),
    ("00331807", "00331999"),
    ("V25031100077", "V25031000011"),
    ("||20250311041500+0700|M|", "||20250310141500+0700|M|"),
)


def edited(raw: bytes, values: Mapping[str, str]) -> bytes:
    """Return a message with fields replaced, by places such as `PID-7`, or `NK1#2-33` for the second NK1."""
    lines = raw.decode().split("\r")
    for place, value in values.items():
        name, number = place.split("-")
        segment, _, nth = name.partition("#")
        at = [i for i, line in enumerate(lines) if line.startswith(segment)][int(nth or 1) - 1]
        fields = lines[at].split("|")
        index = int(number) - (segment == "MSH")
        fields += [""] * (index + 1 - len(fields))
        fields[index] = value
        lines[at] = "|".join(fields)
    return "\r".join(lines).encode()


def without(raw: bytes, *beginnings: str) -> bytes:
    """Return a message without the lines that begin so: `ZKL`, or one OBX by `OBX|10|`."""
    return b"\r".join(line for line in raw.split(b"\r") if not line.decode().startswith(beginnings))


def plus(raw: bytes, *lines: str) -> bytes:
    """Return a message with segments behind it."""
    return raw + "".join(f"{line}\r" for line in lines).encode()


def born(values: Mapping[str, str] | None = None, **told: Any) -> bytes:
    """Return the notice of sample 01 with fields replaced."""
    return edited(notice(**told), values or {})


def obx(code: str, value: str, *, unit: str = "", status: str = "F", at: str = "", kind: str = "NM") -> str:
    """Return an OBX with a LOINC code."""
    return f"OBX|90|{kind}|{code}^^LN||{value}|{unit}|||||{status}|||{at}"


@dataclass(frozen=True)
class Seen:
    """The answer's code (MSA-1 of the application), what was found, and where a birth of it would be."""

    code: str
    codes: set[str]
    effect: Effect
    state: State
    answer: str
    texts: Mapping[str, str]
    found: BirthRecord | None

    @property
    def record(self) -> BirthRecord:
        assert self.found is not None
        return self.found


def seen(
    raw: bytes,
    *,
    known: State | None = None,
    now: dt.datetime = NOW,
    tests: Literal["accept", "reject"] = "accept",
    require_form: bool = False,
    peer: str = "127.0.0.1",
    certificate: str = "",
    **profile: Any,
) -> Seen:
    """Judge a message's bytes as intake does, for a birth that is `known` in that state or not at all."""
    code = raw.split(b"|")[3].split(b"^")[0].decode("latin-1")
    judge = Judge(
        facilities={code: facility(code, **profile)},
        hospitals={"baseline": BaselineHospital()},
        clock=lambda: now,
        test_messages=tests,
        require_form=require_form,
        segment_limit=2000,
    )
    verdict = judge.evaluate(raw, peer=peer, certificate_names={certificate} if certificate else set())
    effect, findings = in_view_of(verdict, known)
    answer = Answerer("AKTAGW", "DISDUKCAPIL 3510", lambda: now).answer(verdict, findings)
    return Seen(
        code=answer.code,
        codes={f.code for f in findings},
        effect=effect,
        state=judged_state({f.entry.hold for f in findings if f.entry.hold}),
        answer=(answer.application or answer.accept).decode("utf-8", "replace"),
        texts={f.code: f.text("id") for f in findings},
        found=verdict.draft.record if verdict.draft else None,
    )
