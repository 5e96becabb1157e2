"""A registry that refuses our quota or login is left alone by every process, over restarts too (domain F 93, 94).

The adapter knows a refusal when it sees one and remembers it for its own process. Here it is written down, so that no
other process and no restart tries a login that was refused: repeats lock the account. Births go on being accepted.
"""

from __future__ import annotations

import datetime as dt
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from gateway.errors import RegistryLoginError, RegistryQuotaError
from gateway.pipeline.breaker import Service
from gateway.store import pauses
from gateway.store.pauses import Pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.pipeline.context import Context

LOOK_AGAIN_S = 300.0  # a waiting task looks so often whether a person lifted the pause; that costs no request
_log = structlog.get_logger()
_QUOTA = (
    "the day's quota of the element check is used up; it is not called before midnight WIB "
    "(procot registry resume, if Dukcapil raised the quota)"
)
_LOGIN = (
    "the element check refused user, password or address and is not called again, since repeats lock the account: "
    "correct registry.check_user, check_password_file or check_ip and restart, or run procot registry resume once "
    "Dukcapil mended its side"
)
_SAYS: dict[str, tuple[type[RegistryQuotaError | RegistryLoginError], str]] = {
    RegistryQuotaError.code: (RegistryQuotaError, _QUOTA),
    RegistryLoginError.code: (RegistryLoginError, _LOGIN),
}


@asynccontextmanager
async def unless_refused(context: Context) -> AsyncIterator[None]:
    """Let the body call the element check where we may; write down where it refuses us.

    Raises RegistryQuotaError or RegistryLoginError without a call while a pause stands.
    """
    identity = context.keyring.index(context.registry.check_identity)
    async with context.database.connection() as connection:
        pause = await pauses.read(connection, Service.CHECK.value)
    if pause is not None and pause.holds(identity, context.clock()):
        context.incidents.seen(pause.cause, Service.CHECK.value)
        error, text = _SAYS[pause.cause]
        raise error(text, after=_after(pause.until, context.clock()))
    if pause is not None and pause.lifted_at is not None:
        context.registry.reopen_checks(pause.lifted_at)
    try:
        yield
    except (RegistryQuotaError, RegistryLoginError) as refusal:
        await _keep(context, identity, refusal)
        refusal.after = min(refusal.after or LOOK_AGAIN_S, LOOK_AGAIN_S)
        raise


async def _keep(context: Context, identity: bytes, refusal: RegistryQuotaError | RegistryLoginError) -> None:
    now = context.clock()
    until = None
    if isinstance(refusal, RegistryQuotaError):
        until = now + dt.timedelta(seconds=refusal.after or LOOK_AGAIN_S)
    async with context.database.transaction() as connection:
        await pauses.keep(connection, Pause(Service.CHECK.value, refusal.code, identity, now, until, None))
    told = until.isoformat(timespec="seconds") if until else None
    _log.error("registry.paused", code=refusal.code, step=Service.CHECK.value, until=told)


def _after(until: dt.datetime | None, now: dt.datetime) -> float:
    return LOOK_AGAIN_S if until is None else min(LOOK_AGAIN_S, max(0.0, (until - now).total_seconds()))


def describe(pause: Pause) -> str:
    """Return in one sentence what stands still, until when, and what to do."""
    until = f" (until {pause.until.isoformat(timespec='seconds')})" if pause.until else ""
    return f"{pause.service}: {_SAYS[pause.cause][1]}{until}"
