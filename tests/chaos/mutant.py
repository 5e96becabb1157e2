"""A gateway with one of its protections taken out, started as `procot` is: the harness must find out.

    python -m tests.chaos.mutant NAME serve --config FILE ...

The product is replaced in this process only. NAME `whole` leaves it as it is; the variable CHAOS_CLOCK_S sets its
clock off by so many seconds, as the machine's own cannot be.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.dukcapil import replies
from adapters.dukcapil.client import Client
from gateway.app import Gateway, utc_now
from gateway.cli.main import main
from gateway.evidence.canonical import canonical
from gateway.evidence.envelope import sign_detached
from gateway.evidence.keys import Keyring
from gateway.pipeline.intake import Intake
from gateway.store import queue, submissions
from gateway.store.inbox import Inbox, Kept

if TYPE_CHECKING:
    from collections.abc import Callable

CLOCK = "CHAOS_CLOCK_S"
JUMP = "CHAOS_JUMP_FILE"
WHOLE = "whole"


def _ack_before_commit() -> None:
    """Answer as soon as the message is in memory."""
    commit = Inbox.submit

    def submit(self: Inbox, submission: Any) -> asyncio.Future[Kept]:
        commit(self, submission).add_done_callback(lambda done: done.cancelled() or done.exception())
        at_once: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        at_once.set_result(Kept(None, row=submission.row(None)))
        return at_once

    Inbox.submit = submit  # type: ignore[method-assign]


def _no_idempotency_key() -> None:
    """Send each submission under a key of its own, as if every try were a new case."""
    directory = Path(sys.argv[sys.argv.index("--config") + 1]).parent
    call, parse = Client._call, replies.parse_case
    keyring = Keyring(directory / "keys")
    keyring.open()

    async def fresh(self: Client, method: str, url: str, headers: dict[str, str], body: bytes, **more: Any) -> Any:
        if method == "POST" and url.endswith("/kelahiran"):
            document = json.loads(body)
            document["id_kasus"] += f"#{uuid.uuid4().hex}"
            body = canonical(document)
            key = f"{document['id_kasus']}:{document['revisi']}"
            signature = sign_detached(body, keyring.signing)
            headers = {**headers, "Idempotency-Key": key, "X-Tanda-Tangan": signature}
        return await call(self, method, url, headers, body, **more)

    def ours(body: bytes, **known: Any) -> Any:
        answer = json.loads(body) if body.startswith(b"{") else None
        if answer and "id_kasus" in answer:
            body = json.dumps({**answer, "id_kasus": answer["id_kasus"].partition("#")[0]}).encode()
        return parse(body, **known)

    Client._call = fresh  # type: ignore[method-assign]
    replies.parse_case = ours


def _no_fencing() -> None:
    """Let whoever had a task finish it, whoever has it now."""

    async def finish(connection: Any, task: queue.Task) -> None:
        await connection.execute("DELETE FROM tasks WHERE id = $1", task.id)

    async def holds(connection: Any, task: queue.Task) -> None:
        """Believe everybody."""

    queue.finish, queue.holds = finish, holds


def _resend_without_asking() -> None:
    """Send again after a time-out as if nothing had been sent."""

    async def must_ask(connection: Any, birth_id: uuid.UUID, revision: int) -> bool:
        return False

    submissions.must_ask = must_ask


def _settle_again() -> None:
    """Apply what the registry says each time it says it."""
    keep = submissions.keep_certificate

    async def keep_again(connection: Any, birth_id: uuid.UUID, revision: int, issued: Any) -> bool:
        await keep(connection, birth_id, revision, issued)
        return True

    submissions.keep_certificate = keep_again


def _answer_not_stored() -> None:
    """Answer a repeat with an answer of its own instead of the one that was promised."""
    answer = Intake._answer

    def anew(self: Intake, incoming: Any, kept: Kept, transport: str) -> Any:
        return answer(self, incoming, Kept(kept.message_id, row=kept.row), transport)

    Intake._answer = anew  # type: ignore[method-assign]


def _set_clock(off_s: float, jump: Path) -> None:
    def clock() -> dt.datetime:
        try:
            more = float(jump.read_text(encoding="ascii") or 0)
        except OSError:
            more = 0.0
        return utc_now() + dt.timedelta(seconds=off_s + more)

    defaults = Gateway.__init__.__kwdefaults__
    assert defaults is not None
    defaults["clock"] = clock


MUTANTS: dict[str, Callable[[], None]] = {
    "ack-before-commit": _ack_before_commit,
    "no-idempotency-key": _no_idempotency_key,
    "no-fencing": _no_fencing,
    "resend-without-asking": _resend_without_asking,
    "settle-again": _settle_again,
    "answer-not-stored": _answer_not_stored,
}

if __name__ == "__main__":
    name = sys.argv.pop(1)
    if name != WHOLE:
        MUTANTS[name]()
    _set_clock(float(os.environ.get(CLOCK, "0")), Path(os.environ.get(JUMP, "absent")))
    main()
