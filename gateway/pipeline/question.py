"""An office's question about a record it had (outcome `ask`): it stands until something that came after it answers.

What the hospital had said before, and what waited while the office had the record, changes the record and answers
nothing: the officer knew that it was on its way (`waiting_messages`) and asked all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.contract.revision import changed_paths, legal_changes
from gateway.pipeline.rejudge import OFFICE
from gateway.store import messages, revisions

if TYPE_CHECKING:
    from gateway.store.births import Birth
    from gateway.store.database import Connection


# What an office never asks for: a message that changes nothing else answers nothing.
NO_ANSWER = frozenset({"child.visit", "child.name_as_sent", "reporter.phone"})


def is_open(birth: Birth) -> bool:
    """Whether an office waits for an answer."""
    return any(finding.get("by") == OFFICE for finding in birth.findings)


async def is_answered_by(connection: Connection, birth: Birth, message_id: int | None) -> bool:
    """Whether a message (None: a person) came after the question that is open; False where there is none."""
    if not is_open(birth):
        return False
    return message_id is None or await messages.came_after_question(connection, message_id, birth.id)


async def is_told_anew(connection: Connection, birth: Birth) -> bool:
    """Whether the record says something else by now than what the office had before it: worth showing to it."""
    had = await revisions.record_of(connection, birth.id, birth.submitted)
    return bool(legal_changes(changed_paths(had, birth.record)))


def close(birth: Birth) -> None:
    """Take the question off a birth that is about to be judged anew."""
    birth.findings = [finding for finding in birth.findings if finding.get("by") != OFFICE]
