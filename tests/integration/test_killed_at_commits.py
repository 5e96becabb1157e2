"""A process killed just before and just after each commit: every birth is done, once."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.store.database import Database
from tests.simulators.journey import Journey, notice
from tests.simulators.scripted_registry import certificate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.contract.ports import Submission
    from gateway.store.database import Connection


class Killed(BaseException):
    """What a kill -9 looks like from within: nobody catches it."""


class Executioner:
    """Kills at one commit: just before it, so that it never was, or just after, so that nobody heard of it."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left = at
        self.after = after
        self.done = False
        self._transaction = Database.transaction

    @asynccontextmanager
    async def transaction(self, database: Database) -> AsyncIterator[Connection]:
        self.left -= 1
        now = self.left == 0
        async with self._transaction(database) as connection:
            yield connection
            if now and not self.after:
                self.done = True
                raise Killed
        if now:
            self.done = True
            raise Killed


async def survive(way: Journey, record_number: str, executioner: Executioner) -> None:
    await way.tell(notice(record_number=record_number))
    with suppress(Killed):
        await way.work()
        await way.hurry()  # the poll
        await way.work()
    for _ in range(3):  # restarted; leases run out, waits end
        await way.hurry()
        await way.work()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_birth_survives_a_kill_at_every_commit_and_is_done_once(
    way: Journey, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    accept = way.registry.submit

    async def issue_later(submission: Submission) -> Outcome:
        outcome = await accept(submission)
        number = f"3510-LU-{submission.birth_id[:8]}"
        issued = Outcome(submission.birth_id, 1, RegistryStatus.ISSUED, certificate=certificate(number))
        way.registry.cases[submission.idempotency_key] = issued
        return outcome

    monkeypatch.setattr(way.registry, "submit", issue_later)
    at, killed = 1, True
    while killed:
        executioner = Executioner(at, after=after)
        monkeypatch.setattr(Database, "transaction", lambda database, e=executioner: e.transaction(database))
        await survive(way, f"B{at}", executioner)
        monkeypatch.setattr(Database, "transaction", executioner._transaction)
        assert await way.state(f"B{at}") is State.DELIVERED, f"killed at commit {at}"
        assert await way.open_kinds() == []
        at, killed = at + 1, executioner.done
    assert at > 9
    sent = {
        s.birth_id: {t.payload for t in way.registry.submissions if t.birth_id == s.birth_id}
        for s in way.registry.submissions
    }
    assert [len(payloads) for payloads in sent.values()] == [1] * (at - 1)
    assert await way.count("certificates") == at - 1
    assert len(set(way.hospital.received)) == 2 * (at - 1)
    assert await way.count("births") == at - 1
