"""Seals, attempts and certificates: what was signed, what left the house, what the registry issued."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import Certificate, Submission

if TYPE_CHECKING:
    import datetime as dt
    import uuid

    from gateway.store.database import Connection


@dataclass(frozen=True, slots=True)
class Seal:
    """Exact signed bytes of one revision."""

    payload: bytes
    sha256: str
    signature: str
    key_id: str


async def keep_seal(connection: Connection, birth_id: uuid.UUID, revision: int, seal: Seal) -> None:
    """Keep the seal of a revision, once: the first one stays."""
    await connection.execute(
        """INSERT INTO seals (birth_id, revision, payload, sha256, signature, key_id)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING""",
        birth_id,
        revision,
        seal.payload,
        seal.sha256,
        seal.signature,
        seal.key_id,
    )


async def sealed(connection: Connection, birth_id: uuid.UUID, revision: int, *, amends: str = "") -> Submission:
    """Return the sealed bytes of a revision; `amends` is the open case they go to. Raises LookupError."""
    row = await connection.fetchrow(
        "SELECT payload, signature FROM seals WHERE birth_id = $1 AND revision = $2", birth_id, revision
    )
    if row is None:
        raise LookupError("this revision was never sealed")
    return Submission(str(birth_id), revision, row["payload"], row["signature"], amends)


async def begin_attempt(connection: Connection, birth_id: uuid.UUID, revision: int) -> int:
    """Write down that the bytes are about to leave; returns the attempt's id."""
    number: int = await connection.fetchval(
        "INSERT INTO attempts (birth_id, revision) VALUES ($1, $2) RETURNING id", birth_id, revision
    )
    await connection.execute("UPDATE births SET submitted = $2 WHERE id = $1", birth_id, revision)
    return number


async def end_attempt(connection: Connection, attempt_id: int, result: str) -> None:
    """Write down how an attempt ended; `unknown` means that it may have been done."""
    await connection.execute("UPDATE attempts SET finished_at = now(), result = $2 WHERE id = $1", attempt_id, result)


async def outcome_unknown(connection: Connection, birth_id: uuid.UUID, revision: int) -> bool:
    """Tell whether an earlier attempt may have reached the registry without our knowing."""
    unknown: bool = await connection.fetchval(
        """SELECT EXISTS (SELECT FROM attempts WHERE birth_id = $1 AND revision = $2
                          AND (result IS NULL OR result = 'unknown'))""",
        birth_id,
        revision,
    )
    return unknown


async def must_ask(connection: Connection, birth_id: uuid.UUID, revision: int) -> bool:
    """Tell whether the registry is asked before anything is sent: an outcome is unknown, or a backup was restored.

    For a month after a restore also births that are new to us: their notices may have come before, and got lost.
    """
    restored: bool = await connection.fetchval(
        """SELECT ask_first OR EXISTS (SELECT FROM restores WHERE restored_at > now() - interval '30 days')
           FROM births WHERE id = $1""",
        birth_id,
    )
    return restored or await outcome_unknown(connection, birth_id, revision)


async def resolve_unknown(connection: Connection, birth_id: uuid.UUID, revision: int, result: str) -> None:
    """Write down what asking the registry told about the attempts whose end nobody knew."""
    await connection.execute(
        """UPDATE attempts SET finished_at = now(), result = $3
           WHERE birth_id = $1 AND revision = $2 AND (result IS NULL OR result = 'unknown')""",
        birth_id,
        revision,
        result,
    )


async def first_attempt_at(connection: Connection, birth_id: uuid.UUID) -> dt.datetime:
    """Return when a birth's record first left the house: the day of its report (domain B.7). Raises LookupError."""
    at: dt.datetime | None = await connection.fetchval(
        "SELECT min(started_at) FROM attempts WHERE birth_id = $1", birth_id
    )
    if at is None:
        raise LookupError("this record never left the house")
    return at


async def keep_certificate(connection: Connection, birth_id: uuid.UUID, revision: int, issued: Certificate) -> bool:
    """Keep what the registry issued; False where a certificate was there already."""
    kept = await connection.fetchval(
        """INSERT INTO certificates
               (birth_id, revision, number, child_nik, family_card, issued_at, sha256, document_url, registered)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (birth_id) DO NOTHING RETURNING birth_id""",
        birth_id,
        revision,
        issued.number,
        issued.child_nik.reveal(),
        issued.family_card.reveal(),
        issued.issued_at,
        issued.sha256,
        issued.document_url,
        _plain(issued),
    )
    return kept is not None


def _plain(issued: Certificate) -> dict[str, str]:
    return {path: value.reveal() for path, value in issued.registered.items()}


async def replace_certificate(connection: Connection, birth_id: uuid.UUID, revision: int, issued: Certificate) -> None:
    """Put a corrected certificate in the place of the one before, which is kept beside it."""
    await connection.execute(
        """INSERT INTO earlier_certificates (birth_id, revision, number, child_nik, family_card, issued_at, sha256,
                                             document_url, document, registered, settled_at)
           SELECT birth_id, revision, number, child_nik, family_card, issued_at, sha256, document_url, document,
                  registered, settled_at FROM certificates WHERE birth_id = $1""",
        birth_id,
    )
    await connection.execute("DELETE FROM certificates WHERE birth_id = $1", birth_id)
    await keep_certificate(connection, birth_id, revision, issued)


async def replaced_number(connection: Connection, birth_id: uuid.UUID) -> str:
    """Return the number of the certificate that the present one replaced, "" where it is the first."""
    number: str | None = await connection.fetchval(
        "SELECT number FROM earlier_certificates WHERE birth_id = $1 ORDER BY replaced_at DESC LIMIT 1", birth_id
    )
    return number or ""


async def replaced_before(connection: Connection, birth_id: uuid.UUID, sha256: str, number: str) -> bool:
    """Tell whether a certificate is one that a correction replaced: late news of it decide nothing."""
    known: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM earlier_certificates WHERE birth_id = $1 AND sha256 = $2 AND number = $3)",
        birth_id,
        sha256,
        number,
    )
    return known


async def revoked(connection: Connection, birth_id: uuid.UUID, *, now_revoked: bool = False) -> bool:
    """Tell whether the registry took the certificate back; `now_revoked` writes it down first."""
    if now_revoked:
        await connection.execute(
            "UPDATE certificates SET revoked_at = coalesce(revoked_at, now()) WHERE birth_id = $1", birth_id
        )
    return bool(
        await connection.fetchval("SELECT revoked_at IS NOT NULL FROM certificates WHERE birth_id = $1", birth_id)
    )


async def number_taken(connection: Connection, birth_id: uuid.UUID, number: str) -> bool:
    """Tell whether another birth has a certificate of this number."""
    taken: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM certificates WHERE number = $2 AND birth_id <> $1)", birth_id, number
    )
    return taken


async def certified_revision(connection: Connection, birth_id: uuid.UUID) -> int:
    """Return the revision a birth's certificate was issued for. Raises LookupError."""
    revision: int | None = await connection.fetchval("SELECT revision FROM certificates WHERE birth_id = $1", birth_id)
    if revision is None:
        raise LookupError("there is no certificate")
    return revision


async def certificate(connection: Connection, birth_id: uuid.UUID) -> Certificate | None:
    """Return a birth's certificate, with the file where it was collected."""
    row = await connection.fetchrow(
        """SELECT number, child_nik, family_card, issued_at, sha256, document_url, document, registered
           FROM certificates WHERE birth_id = $1""",
        birth_id,
    )
    if row is None:
        return None
    return Certificate(
        number=row["number"],
        child_nik=Nik(row["child_nik"]),
        family_card=Personal(row["family_card"]),
        issued_at=row["issued_at"],
        sha256=row["sha256"],
        document_url=row["document_url"],
        document=row["document"] or b"",
        registered={path: Personal(text) for path, text in row["registered"].items()},
    )


async def readdress(connection: Connection, birth_id: uuid.UUID, issued: Certificate) -> bool:
    """Keep where the file of the same certificate lies now; False where nothing changed, or the file is here."""
    moved = await connection.fetchval(
        """UPDATE certificates SET document_url = $4
           WHERE birth_id = $1 AND number = $2 AND sha256 = $3 AND $4 <> '' AND document_url <> $4 AND document IS NULL
           RETURNING birth_id""",
        birth_id,
        issued.number,
        issued.sha256,
        issued.document_url,
    )
    return moved is not None


async def keep_document(connection: Connection, birth_id: uuid.UUID, document: bytes) -> None:
    """Keep the certificate's file, whose digest was checked."""
    await connection.execute("UPDATE certificates SET document = $2 WHERE birth_id = $1", birth_id, document)
