"""`procot births amend` and `withdraw`: what is asked of the registry about a birth it has, with a preview."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli import loop, place
from gateway.cli.births import find, who
from gateway.cli.output import console
from gateway.errors import ConfigError
from gateway.pipeline import legal, operate
from gateway.store import births

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.pipeline.legal import Plan
    from gateway.pipeline.operate import Desk
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_ASKS = {
    "withdraw": "ask the registry to withdraw its open case (pembatalan)",
    "correct": "ask the registry to correct the akta (pembetulan)",
    "revoke": "ask the registry to revoke the akta (pembatalan); it stays valid until the office or a court decides",
    "documents": "send the registry the documents that came since (berkas)",
}
_ID = click.argument("birth", metavar="BIRTH")
_REASON = click.option("--reason", required=True, help="told to the registry and kept in history; no personal data")
_SEND = click.option("--send", is_flag=True, help="do it; without it only a preview is shown")
_KEEP = click.option("--keep", is_flag=True, help="leave the akta as it is and close the review")


@click.command(short_help="Correct an issued akta, or send documents asked for.")
@_ID
@click.option("--basis", type=click.Choice(["clerical", "court"]), default="clerical", show_default=True,
              help="a slip of the pen, or a court's order")  # fmt: skip
@click.option("--order", default="", help="number of the court's order, with --basis court")
@_REASON
@_SEND
@_KEEP
@place.options
def amend(
    birth: str, basis: str, order: str, reason: str, send: bool, keep: bool,
    config: Path | None, data: Path,
) -> None:  # fmt: skip
    """Ask the registry to correct an issued akta after a change by the hospital (AMENDMENT_REVIEW).

    BIRTH is its id, or the control id of one of its messages. Where the registry asked for documents, those that came
    since are sent. --keep closes the review without asking.
    """
    if (basis == "court") != bool(order):
        raise ConfigError("--order: the number of the court's order belongs to --basis court, and only to it")

    async def act(desk: Desk, birth_id: uuid.UUID) -> Plan:
        return await legal.amend(desk, birth_id, basis=basis, order=order)

    loop.run(_decide(birth, (legal.plan_amendment, act), (send, keep), reason, (config, data)))


@click.command(short_help="Withdraw a case at the registry, or ask it to revoke an akta.")
@_ID
@_REASON
@_SEND
@_KEEP
@place.options
def withdraw(birth: str, reason: str, send: bool, keep: bool, config: Path | None, data: Path) -> None:
    """Ask the registry to withdraw an open case, or to revoke an akta that was issued.

    BIRTH is its id, or the control id of one of its messages. --keep closes a review after issue without asking.
    """

    async def plan(connection: Connection, _desk: Desk, found: Birth) -> Plan:
        return await legal.plan_withdrawal(connection, found)

    loop.run(_decide(birth, (plan, legal.withdraw), (send, keep), reason, (config, data)))


async def _decide(
    birth: str,
    how: tuple[Callable[[Connection, Desk, Birth], Awaitable[Plan]], Callable[[Desk, uuid.UUID], Awaitable[Plan]]],
    wish: tuple[bool, bool],
    reason: str,
    where: tuple[Path | None, Path],
) -> None:
    (plan, act), (send, keep) = how, wish
    if send and keep:
        raise ConfigError("--send and --keep: one of both")
    async with place.database(*where) as database:
        found = await find(database, birth)
        birth_id = uuid.UUID(found["id"])
        desk = operate.Desk(database, place.settings(*where), actor=f"operator:{who()}", reason=reason)
        try:
            if keep:
                state = await legal.keep_issued(desk, birth_id)
                console.print(f"{birth_id} is {state.value}: the akta stays as it is", markup=False)
                return
            if send:
                _show(found["id"], await act(desk, birth_id), done=True)
                return
            async with database.connection() as connection:
                _show(found["id"], await plan(connection, desk, await births.read(connection, birth_id)), done=False)
        except LookupError as error:
            raise ConfigError(str(error)) from None


def _show(birth_id: str, plan: Plan, *, done: bool) -> None:
    lines = [f"{birth_id} is {plan.state.value}" + (f", akta {plan.number}" if plan.number else "")]
    lines.append(("asked: " if done else "would ") + (_ASKS[plan.kind.value] if plan.kind else plan.note))
    lines += [f"  changes {path}" for path in plan.paths]
    lines += [f"  document {digest}" for digest in plan.digests]
    if not done:
        lines.append("nothing was done; --send does it")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
