"""Gateway, registry and hospital, compared birth by birth, in pages.

The registry is asked, never told. What it knows and we do not is applied as a poll would apply it; what contradicts our
journal becomes a case for a person, once. A birth that waits for the gateway and has no task gets one. A case that a
later run does not find again closes by itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from gateway.contract.lifecycle import CERTIFIED, IN_FLIGHT, State
from gateway.contract.ports import Outcome, RegistryStatus
from gateway.errors import RegistryProtocolError, RegistryUnavailableError
from gateway.observe.logging import describe
from gateway.pipeline import operate
from gateway.pipeline.likeness import begun_again
from gateway.pipeline.settle import asked_for_data, settle
from gateway.store import births, chores
from gateway.store import reconcile as store
from gateway.store.reconcile import Difference, Known

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection

CHORE = "reconcile"
AHEAD = 3  # revisions after ours that are looked for where a backup was restored
AWAY = 3  # questions in a row without an answer: the registry is away; fewer are about those cases
_MOST = 10_000  # differences of one kind that one run lays before people
_log = structlog.get_logger()

# What each kind of case means and what a person does about it.
KINDS: dict[str, str] = {
    "REGISTRY_UNKNOWN": "we sent it, the registry does not know it: ask the office, then retry (queue retry)",
    "REGISTRY_AHEAD": "the registry has a case or revision that our journal has not (restore): compare with the office",
    "REGISTRY_BEHIND": "we have a certificate, the registry says that the case is open: ask the office",
    "CERTIFICATE_UNKNOWN": "we have a certificate, the registry does not know the case at all: call the office",
    "CERTIFICATE_DIFFERS": "the registry names another certificate than ours: call the office at once",
    "CERTIFICATE_TAKEN_BACK": "the registry took the certificate back; the hospital still has it: call the office",
    "CERTIFICATE_STANDS": "we hold the certificate to be revoked, the registry says that it is valid: call the office",
    "ANSWER_UNREADABLE": "the registry's answer about this case is off its contract: call the office",
    "HOSPITAL_NOT_TOLD": "the hospital has not acknowledged its certificate: look at its listener (queue incidents)",
    "HOSPITAL_REFUSED": "the hospital's system refused the certificate: mend it and retry, or tell it and discard",
    "MESSAGE_WITHOUT_BIRTH": "an accepted message belongs to no birth: task.given_up names the reason",
    "NO_TASK": "nobody would have gone on with this birth; it has a task again: report it, this must not happen",
}


@dataclass(slots=True)
class Report:
    """What a run found. `complete` is False where the registry was away in the middle: nothing was closed then."""

    compared: int = 0
    agree: int = 0
    caught_up: int = 0
    differences: list[Difference] = field(default_factory=list)
    opened: int = 0
    closed: int = 0
    complete: bool = False
    skipped: int = 0  # the registry gave no answer about them, and answered about others
    in_a_row: int = 0
    unanswered: RegistryUnavailableError | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers, by kind."""
        kinds: dict[str, int] = {}
        for found in self.differences:
            kinds[found.kind] = kinds.get(found.kind, 0) + 1
        return {
            "compared": self.compared, "agree": self.agree, "caught_up": self.caught_up, "differences": kinds,
            "opened": self.opened, "closed": self.closed, "complete": self.complete,
        }  # fmt: skip


async def reconcile(context: Context, *, told: Callable[[Report], None] | None = None) -> Report:
    """Compare everything once. Raises RegistryUnavailableError where the registry is away; what was found stays.

    `told` is called after each page.
    """
    began = await store.now(context.database)
    report = Report()
    try:
        await _idle(context, report)
        for found in await store.unassigned(context.database, limit=_MOST):
            await _lay(context, report, found)
        listeners = [code for code, profile in context.facilities.items() if profile.deliver_to]
        for found in await store.untold(context.database, listeners=listeners, limit=_MOST):
            await _lay(context, report, found)
        await _registry(context, report, told)
        if not report.skipped:  # what was not asked about may still be so
            async with context.database.transaction() as connection:
                report.closed = await store.close_unseen(connection, began)
        report.complete = not report.skipped
    finally:
        await _write(context, report)
    return report


async def _write(context: Context, report: Report) -> None:
    await chores.finish(context.database, CHORE, report.as_dict())
    counts = await store.open_counts(context.database)
    for kind in KINDS:
        context.metrics.cases.labels(kind).set(counts.get(kind, 0))
    context.metrics.chores.labels(CHORE).set_to_current_time()
    _log.info("reconcile.done", births=report.compared, findings=len(report.differences), outcome=_word(report))


def _word(report: Report) -> str:
    return "complete" if report.complete else "interrupted"


async def _idle(context: Context, report: Report) -> None:
    """Give a task to every birth that should have one."""
    for birth_id in await store.idle(context.database, limit=_MOST):
        async with context.database.transaction() as connection:
            birth = await births.lock(connection, birth_id)
            if not await operate.resume(connection, birth):
                continue
        await _lay(context, report, Difference("NO_TASK", birth_id, detail={"state": birth.state.value}))


async def _registry(context: Context, report: Report, told: Callable[[Report], None] | None) -> None:
    settings = context.config.reconcile
    after: uuid.UUID | None = None
    while page := await store.page(context.database, after=after, days=settings.days, limit=settings.page):
        for known in page:
            await _one(context, report, known)
            await asyncio.sleep(1 / settings.per_s)
        after = page[-1].id
        if told is not None:
            told(report)
    if report.unanswered is not None and report.skipped == report.compared:
        raise report.unanswered


async def _one(context: Context, report: Report, known: Known) -> None:
    report.compared += 1
    try:
        outcome = await _ask(context, known)
        caught_up = await _apply(context, known, outcome)
    except RegistryProtocolError as error:
        await _lay(context, report, Difference("ANSWER_UNREADABLE", known.id, detail={"code": error.code}))
        return
    except RegistryUnavailableError as error:
        report.skipped, report.unanswered = report.skipped + 1, error
        report.in_a_row += 1
        if report.in_a_row >= AWAY:
            raise  # not this one case: the registry is away
        _log.warning("reconcile.skipped", birth_id=str(known.id), **describe(error))
        return
    report.in_a_row = 0
    if caught_up:
        report.caught_up += 1
        return
    kind = difference(known, outcome)
    if kind is None:
        report.agree += 1
        return
    detail = {"state": known.state, "registry": outcome.status.value, "revision": outcome.revision}
    await _lay(context, report, Difference(kind, known.id, detail=detail))


async def _ask(context: Context, known: Known) -> Outcome:
    """Ask about what we sent; after a restore also about what we may have sent and do not know of any more."""
    ask, birth_id = context.registry.ask, str(known.id)
    if known.submitted:
        outcome = await ask(birth_id=birth_id, revision=known.submitted, reference=known.reference)
    else:
        outcome = await ask(birth_id=birth_id, revision=known.revision, reference="")
    if not known.ask_first:
        return outcome
    for revision in range(max(known.revision, known.submitted) + 1, known.revision + AHEAD + 1):
        later = await ask(birth_id=birth_id, revision=revision, reference="")
        if later.status is not RegistryStatus.UNKNOWN:
            outcome = replace(later, revision=revision)
    return outcome


async def _apply(context: Context, known: Known, outcome: Outcome) -> bool:
    """Apply what the registry knows and we do not, as a poll would; True where that changed something."""
    if outcome.status is RegistryStatus.UNKNOWN:
        return False

    async def work(connection: Connection) -> bool:
        birth = await births.lock(connection, known.id)
        if not _may_learn(birth, outcome):
            return False
        before = birth.state
        await settle(context, connection, birth, outcome, actor="registry", step="reconcile")
        return birth.state is not before

    return await begun_again(context.database, work)


def _may_learn(birth: Birth, outcome: Outcome) -> bool:
    """Whether the registry's word is news, and not a contradiction of a certificate that we have."""
    if birth.state in CERTIFIED:
        return outcome.status in (RegistryStatus.REFUSED, RegistryStatus.WITHDRAWN)
    if outcome.status is RegistryStatus.ISSUED:
        return True
    return outcome.revision == birth.submitted and (birth.state in IN_FLIGHT or asked_for_data(birth))


_OPEN = (RegistryStatus.IN_PROCESS, RegistryStatus.NEEDS_DATA)
_ON_ITS_WAY = (State.READY.value, State.SEALED.value, State.SUBMITTED.value)  # asked about by its own step


def difference(known: Known, outcome: Outcome) -> str | None:
    """Return what does not agree between our journal and the registry, None where all does."""
    status = outcome.status
    if outcome.revision > max(known.revision, known.submitted):
        return "REGISTRY_AHEAD"
    if known.number is not None:
        return _about_certificate(known, outcome)
    if not known.submitted:
        found = status is not RegistryStatus.UNKNOWN and known.state not in _ON_ITS_WAY
        return "REGISTRY_AHEAD" if found else None
    if status is RegistryStatus.UNKNOWN and known.state not in _ON_ITS_WAY and known.state != State.CANCELLED.value:
        return "REGISTRY_UNKNOWN"
    return None


def _about_certificate(known: Known, outcome: Outcome) -> str | None:
    """Compare a certificate that we have. A cancelled birth with one was revoked: by us, or by a person's word."""
    status, certificate = outcome.status, outcome.certificate
    if certificate is not None:
        same = (known.number, known.child_nik, known.sha256) == (
            certificate.number, certificate.child_nik.reveal(), certificate.sha256,
        )  # fmt: skip
        if same and known.state == State.CANCELLED.value:
            return "CERTIFICATE_STANDS"
        return None if same else "CERTIFICATE_DIFFERS"
    if status is RegistryStatus.UNKNOWN:
        return "CERTIFICATE_UNKNOWN"
    if status in _OPEN:
        return "REGISTRY_BEHIND"
    agreed = status is RegistryStatus.WITHDRAWN and known.state == State.CANCELLED.value
    return None if agreed else "CERTIFICATE_TAKEN_BACK"


async def _lay(context: Context, report: Report, found: Difference) -> None:
    report.differences.append(found)
    async with context.database.transaction() as connection:
        opened = await store.open_case(connection, found)
    if opened:
        report.opened += 1
        birth_id = str(found.birth_id) if found.birth_id else None
        _log.warning("reconcile.case_opened", kind=found.kind, birth_id=birth_id, message_id=found.message_id)
