"""API tokens, stored hashed: a 256-bit random token needs no slow hash, only that the table does not hold it."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

    from gateway.store.database import Database

Role = Literal["facility", "officer", "operator"]
ROLES: tuple[Role, ...] = ("facility", "officer", "operator")
DAYS = 90  # a token is good so long unless it is made for another time
_PREFIX = "procot_"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for. A facility sees its own births only."""

    id: uuid.UUID
    label: str
    role: Role
    facility: str | None
    office: str | None = None
    restricted: bool = False

    @property
    def actor(self) -> str:
        """The name for event rows: the role and the token's id, never the token."""
        return f"{self.role}:{self.id}"


async def new(  # noqa: PLR0913 - each a property of a token
    database: Database,
    *,
    label: str,
    role: Role,
    facility: str | None = None,
    days: int = DAYS,
    office: str | None = None,
    restricted: bool = False,
) -> tuple[Identity, str]:
    """Make a token. The text is returned this once.

    `office` is whose records an officer may take and decide, four digits or `all`; `restricted` also shows those cases.
    """
    token = _PREFIX + secrets.token_urlsafe(32)
    identity = Identity(uuid.uuid4(), label, role, facility, office, restricted)
    await database.fetch(
        """INSERT INTO tokens (id, label, hash, role, facility, expires_at, office, restricted)
           VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 day', $7, $8)""",
        identity.id,
        label,
        _hash(token),
        role,
        facility,
        days,
        office,
        restricted,
    )
    return identity, token


@dataclass(frozen=True, slots=True)
class Held:
    """A token that somebody showed: whose it is, and whether it is still good. `left_s` is None where it never ends."""

    identity: Identity
    revoked: bool
    left_s: float | None

    @property
    def expired(self) -> bool:
        """Whether its time is over."""
        return self.left_s is not None and self.left_s <= 0

    @property
    def good(self) -> bool:
        """Whether it still speaks for somebody."""
        return not (self.revoked or self.expired)


async def held(database: Database, token: str) -> Held | None:
    """Return what is known of a token, None for one that was never made here."""
    row = await database.fetchrow(
        """SELECT id, label, role, facility, office, restricted, revoked_at IS NOT NULL AS revoked,
                  extract(epoch FROM expires_at - now())::float AS left_s
           FROM tokens WHERE hash = $1""",
        _hash(token),
    )
    if row is None:
        return None
    identity = Identity(row["id"], row["label"], cast("Role", row["role"]), *row[3:6])
    return Held(identity, row["revoked"], row["left_s"])


async def identify(database: Database, token: str) -> Identity | None:
    """Return whom a token speaks for; None for an unknown, expired or revoked one."""
    found = await held(database, token)
    return found.identity if found is not None and found.good else None


async def ending(database: Database, *, within_days: int) -> list[asyncpg.Record]:
    """Return the good tokens that end within so many days, the first to end first."""
    return await database.fetch(
        """SELECT id, role, facility, expires_at, extract(epoch FROM expires_at - now())::float AS left_s FROM tokens
           WHERE revoked_at IS NULL AND expires_at BETWEEN now() AND now() + $1 * interval '1 day'
           ORDER BY expires_at LIMIT 100""",
        within_days,
    )


async def listing(database: Database) -> list[asyncpg.Record]:
    """Return every token's description, never the hash."""
    return await database.fetch(
        """SELECT id, label, role, facility, office, restricted, made_at, expires_at, revoked_at FROM tokens
           ORDER BY made_at"""
    )


async def labels(database: Database, token_ids: Iterable[str]) -> dict[str, str]:
    """Return the labels of tokens by their id as text; what is no id of a token is left out."""
    ids = {found for text in token_ids if (found := _as_id(text)) is not None}
    if not ids:
        return {}
    rows = await database.fetch("SELECT id, label FROM tokens WHERE id = ANY($1)", list(ids))
    return {str(row["id"]): row["label"] for row in rows}


def _as_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


async def revoke(database: Database, token_id: uuid.UUID) -> bool:
    """Make a token worthless at once; False where it is unknown or revoked already."""
    sql = "UPDATE tokens SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL RETURNING id"
    return await database.fetchrow(sql, token_id) is not None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
