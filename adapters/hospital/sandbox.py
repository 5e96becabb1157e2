"""A hospital that takes certificates: it answers, and keeps every message it gets as one file.

Owns its directory. No socket here: the gateway wires `handle` to an MLLP server, which also makes the delays.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from gateway.errors import Hl7SyntaxError
from gateway.hl7.ack import build_acknowledgement
from gateway.hl7.charset import decode
from gateway.hl7.header import Header, read_header, salvage_header
from gateway.hl7.message import parse_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_UNSAFE = re.compile(r"[^A-Za-z0-9_.]")
_NAME_LENGTH = 80
_APPLICATION, _FACILITY = "SIMRS", "HOSPITAL SANDBOX"
# Table 0155 by what happened.
_ON_SUCCESS, _ON_ERROR = frozenset({"AL", "SU"}), frozenset({"AL", "ER"})


def _utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(slots=True)
class Behaviour:
    """How it answers; may be changed while it runs. A message is kept in every case, as a real system might."""

    answer: Literal["accept", "AE", "AR"] = "accept"
    silent: bool = False  # takes the message and never answers
    wrong_control_id: bool = False  # answers with an MSA-2 that nobody sent


@dataclass(frozen=True, slots=True, kw_only=True)
class HospitalSandboxSettings:
    """What the sandbox is opened with."""

    directory: Path
    behaviour: Behaviour = field(default_factory=Behaviour)
    clock: Callable[[], dt.datetime] = _utc_now


class HospitalSandbox:
    """Takes one message at a time and returns what to send back."""

    def __init__(
        self, directory: Path, *, behaviour: Behaviour | None = None, clock: Callable[[], dt.datetime] = _utc_now
    ) -> None:
        self.directory = directory
        self.behaviour = behaviour or Behaviour()
        self._clock = clock
        self._answers = 0
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._kept = {_key(path.name, path.read_bytes()) for path in directory.glob("*.hl7")}

    def handle(self, frame: bytes) -> list[bytes]:
        """Keep a message (the bytes without MLLP framing) and return the answers, none or one.

        A repeat, the same control id and bytes, is answered again and makes no second file.
        """
        read = decode(frame)
        try:
            header = read_header(parse_message(read.text))
        except Hl7SyntaxError:
            self._keep(frame, "UNREADABLE", hashlib.sha256(frame).hexdigest()[:16])
            return [] if self.behaviour.silent else [self._answer(salvage_header(read.text), "AR", read.codec)]
        kind = "_".join(part for part in (header.message_code, header.event) if part) or "UNKNOWN"
        self._keep(frame, kind, header.control_id)
        code = _code(header, self.behaviour.answer)
        return [] if self.behaviour.silent or not code else [self._answer(header, code, read.codec)]

    def _answer(self, header: Header | None, code: str, codec: str) -> bytes:
        self._answers += 1
        now = self._clock()
        if header and self.behaviour.wrong_control_id:
            header = replace(header, control_id=f"WRONG{self._answers}")
        return build_acknowledgement(
            header,
            code=code,
            problems=(),
            control_id=f"HS{now:%Y%m%d%H%M%S}{self._answers:06d}",
            now=now,
            our_application=_APPLICATION,
            our_facility=_FACILITY,
            codec=codec,
        )

    def _keep(self, frame: bytes, kind: str, control_id: str) -> None:
        """Write whole or not at all: under another name first, then renamed. Only its owner may read it."""
        tail = f"{_safe(kind)}-{_safe(control_id) or 'NONE'}.hl7"
        key = _key(f"-{tail}", frame)
        if key in self._kept:
            return
        stamp = self._clock().astimezone(dt.UTC).strftime("%Y%m%dT%H%M%S%fZ")
        target = self.directory / f"{stamp}-{tail}"
        number = 1
        while target.exists():  # a frozen clock, or another message under the same id within a microsecond
            number += 1
            target = self.directory / f"{stamp}_{number}-{tail}"
        temporary = target.with_name(f".{target.name}.part")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - a mode
            file.write(frame)
        temporary.replace(target)
        self._kept.add(key)


def open_sandbox(settings: HospitalSandboxSettings) -> HospitalSandbox:
    """Open a sandbox (entry point gateway.sandbox, name hospital)."""
    return HospitalSandbox(settings.directory, behaviour=settings.behaviour, clock=settings.clock)


def _key(name: str, frame: bytes) -> tuple[str, str]:
    """Return what makes a message the same one: type and control id, as the file name has them, and its bytes."""
    return name.partition("-")[2], hashlib.sha256(frame).hexdigest()


def _safe(text: str) -> str:
    """Return a text fit for a file name; one that had to be changed gets a mark, so that two never meet."""
    safe = _UNSAFE.sub("_", text)[:_NAME_LENGTH]
    return safe if safe == text else f"{safe}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _code(header: Header, answer: str) -> str:
    """Return MSA-1 in the mode the sender asks for (domain A.5), "" where it wants no answer."""
    refused = answer != "accept"
    wanted = _ON_ERROR if refused else _ON_SUCCESS
    if not header.enhanced:
        return answer if refused else "AA"
    if header.accept_ack in wanted:
        return f"C{answer[1]}" if refused else "CA"
    if header.application_ack in wanted:
        return answer if refused else "AA"
    return ""
