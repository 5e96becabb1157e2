"""`procot evidence`: check receipts, sealed records and journals with public keys alone; export and check our own."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gateway.cli import loop, place
from gateway.cli.births import who
from gateway.cli.output import as_json, console, details, emit, errors
from gateway.config import load
from gateway.contract.visible import escaped, printable
from gateway.errors import ConfigError, EvidenceError, KeyMissingError, ProcotError, SignatureError
from gateway.evidence.envelope import open_compact, public_keys, verify_detached
from gateway.evidence.head import Memory
from gateway.evidence.journal import (
    EXPORT,
    MOST_LINE_BYTES,
    MOST_RECEIPT_BYTES,
    RECEIPT,
    open_checkpoint,
    verify_export,
    verify_receipt,
)
from gateway.evidence.keys import Keyring, public_halves
from gateway.observe.logging import configure
from gateway.pipeline import journal, signer
from gateway.store import journal as store
from gateway.store.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gateway.pipeline.journal import Checked
    from gateway.store.database import Database

MOST_REASON = 500
MOST_RECORD_BYTES = 64 * 1024 * 1024
_NOT_GOOD, _UNCHECKED = 1, 2
_EACH = 512  # lines between two moves of the bar
_KEYS = click.option(
    "--keys", type=click.Path(path_type=Path, dir_okay=False),
    help="JWK set with the public keys (/.well-known/jwks.json, saved); default: the keys of --config or --data",
)  # fmt: skip


@click.group()
def evidence() -> None:
    """Receipts and the journal, to check without us."""


@dataclass(frozen=True, slots=True)
class _Good:
    """What a file proves: its kind and what to tell of it."""

    kind: str
    told: dict[str, Any]


@evidence.command(short_help="Check a receipt, a sealed record or a journal, offline.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@_KEYS
@click.option("--signature", metavar="JWS",
              help="`header..signature` over FILE, where FILE is the sealed bytes alone; or @FILE")  # fmt: skip
@click.option("--message", type=click.Path(path_type=Path, dir_okay=False),
              help="with a receipt: it must be the one of this message")  # fmt: skip
@as_json()
@place.options
def verify(
    file: Path, keys: Path | None, signature: str | None, message: Path | None, json_output: bool,
    config: Path | None, data: Path,
) -> None:  # fmt: skip
    """Check FILE with public keys alone: no database, no network. `-` is standard input.

    FILE is a receipt, a journal export, a hand-over pack or leased record, a JWS, or with --signature the exact bytes
    that were sealed. Exit status: 0 it is good, 1 it is not, and the text says what does not fit and where, 2 it
    could not be checked.
    """
    try:
        good = _verified(file, _known(keys, config, data), signature, message)
    except (EvidenceError, SignatureError) as error:
        _told(file, json_output, {"good": False, "problem": printable(str(error))})
        sys.exit(_NOT_GOOD)
    except (ProcotError, OSError) as error:
        reason = f"{error.strerror}" if isinstance(error, OSError) else str(error)
        errors.print(f"procot: {file}: {reason}; it was not checked", markup=False, soft_wrap=True)
        sys.exit(_UNCHECKED)
    _told(file, json_output, {"good": True, "kind": good.kind, **good.told})


def _told(file: Path, json_output: bool, said: dict[str, Any]) -> None:
    if json_output:
        emit({"file": str(file), **said})
    elif said["good"]:
        console.print(f"{file}: good, a {said['kind']}", markup=False, soft_wrap=True)
        shown = {**said.pop("entry", {}), **{key: said[key] for key in list(said)[2:]}}
        details((key.replace("_", " "), value) for key, value in shown.items())
    else:
        errors.print(f"{file}: NOT good: {said['problem']}", markup=False, soft_wrap=True)


def _known(keys: Path | None, config: Path | None, data: Path) -> dict[str, bytes]:
    """Return the public keys to check with. Raises ConfigError."""
    if keys is None:
        directory = load(config).keys_directory if config else data / "keys"
        try:
            return public_halves(directory)
        except KeyMissingError as error:
            raise ConfigError(f"{error}; name the signer's JWK set with --keys") from error
    try:
        return public_keys(json.loads(keys.read_bytes()))
    except OSError as error:
        raise ConfigError(f"--keys {keys}: cannot be read ({error.strerror})") from error
    except (ValueError, SignatureError) as error:
        reason = str(error) if isinstance(error, SignatureError) else "not JSON"
        raise ConfigError(f"--keys {keys}: {reason}; save /.well-known/jwks.json of the gateway") from error


def _verified(file: Path, keys: Mapping[str, bytes], signature: str | None, message: Path | None) -> _Good:
    """Find out of which kind a file is and check it. Raises EvidenceError, SignatureError, ConfigError, OSError."""
    with _opened(file) as source:
        if signature is not None:
            return _record(_whole(source), _signature(signature), keys)
        first = source.readline(MOST_RECORD_BYTES)
        head = _json(first)
        if isinstance(head, dict) and head.get("kind") == EXPORT:
            return _export(head, source, len(first), keys)
        content = first + _whole(source)
    said = _json(content)
    if isinstance(said, dict) and said.get("kind") == RECEIPT:
        return _receipt(content, said, keys, message)
    if message is not None:
        raise ConfigError("--message goes with a receipt")
    return _signed(content, said, keys)


def _signed(content: bytes, said: Any, keys: Mapping[str, bytes]) -> _Good:
    """Check what holds signed bytes and their signature: a pack, a leased record, a compact JWS."""
    signed = said.get("signed", said) if isinstance(said, dict) else None
    if isinstance(signed, dict) and isinstance(signed.get("payload"), str) and isinstance(signed.get("signature"), str):
        good = _record(signed["payload"].encode(), signed["signature"], keys)
        _same(said, _json(signed["payload"].encode()))
        return good
    text = content.strip()
    if text.count(b".") == 2 and text.isascii():  # noqa: PLR2004 - header.payload.signature
        jws = text.decode()
        try:
            payload, key_id = open_compact(jws, keys, typ=None)
        except SignatureError as error:
            if "procot-checkpoint" not in str(error):
                raise
            found = open_checkpoint(jws, keys)
            return _Good("checkpoint", {"entries": found.head.size, "root": found.head.root.hex(), "time": found.time})
        return _Good("signed record", _about(payload, key_id))
    raise ConfigError(
        "neither a receipt, a journal, a pack, a leased record nor a JWS; the sealed bytes alone need --signature"
    )


def _record(payload: bytes, signature: str, keys: Mapping[str, bytes]) -> _Good:
    return _Good("signed record", _about(payload, verify_detached(payload, signature, keys)))


def _about(payload: bytes, key_id: str) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(payload).hexdigest(), "bytes": len(payload), "key_id": key_id}


def _same(said: Any, signed: Any) -> None:
    """Compare what a hand-over pack says in clear with what was signed. Raises EvidenceError."""
    if not isinstance(signed, dict) or said.get("kind") != "procot-handover":
        return
    for name in ("birth_id", "revision", "record"):
        if name in signed and said.get(name) != signed[name]:
            raise EvidenceError(f"{name}: the pack says another one than the signed bytes in signed.payload")


def _receipt(content: bytes, said: dict[str, Any], keys: Mapping[str, bytes], message: Path | None) -> _Good:
    if len(content) > MOST_RECEIPT_BYTES:
        raise EvidenceError(f"a receipt is not larger than {MOST_RECEIPT_BYTES} bytes")
    found = verify_receipt(said, keys)
    if message is not None:
        digest = hashlib.sha256(_unframed(message.read_bytes())).hexdigest()
        if digest != found.entry.get("sha256"):
            raise EvidenceError(f"the receipt is of {found.entry.get('sha256')}, the SHA-256 of {message} is {digest}")
    checkpoint = found.checkpoint
    about = {"position": found.position, "entries": checkpoint.head.size, "time": checkpoint.time}
    return _Good("receipt", {"entry": found.entry, **about, "key_id": checkpoint.key_id, "log": checkpoint.log})


def _unframed(content: bytes) -> bytes:
    """Return a message without the MLLP framing that a file may hold: what is kept, and hashed, has none."""
    return content[1:].partition(b"\x1c")[0] if content.startswith(b"\x0b") else content


def _export(head: dict[str, Any], source: BinaryIO, read: int, keys: Mapping[str, bytes]) -> _Good:
    size = os.fstat(source.fileno()).st_size if source.seekable() else 0
    chain = None
    with _bar("checking") as move:
        lines = _counted(iter(lambda: source.readline(MOST_LINE_BYTES), b""), lambda done: move(done, size), read)
        for chain in verify_export(head, lines, keys):  # noqa: B007 - the last one tells all
            pass
    if chain is None or chain.last is None:
        raise EvidenceError("the export holds nothing behind its first line")
    last = chain.last
    told = {"entries": chain.size, "checkpoints": chain.checkpoints, "time": last.time, "root": last.head.root.hex()}
    return _Good("journal", {**told, "log": chain.log})


def _counted(lines: Iterator[bytes], move: Callable[[int], None], done: int) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        done += len(line)
        if number % _EACH == 0:
            move(done)
        yield line


def _json(content: bytes) -> Any:
    """Return the JSON of some bytes, None where they are none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _signature(given: str) -> str:
    return Path(given[1:]).read_text(encoding="ascii", errors="replace") if given.startswith("@") else given


def _whole(source: BinaryIO) -> bytes:
    content = source.read(MOST_RECORD_BYTES + 1)
    if len(content) > MOST_RECORD_BYTES:
        raise ConfigError(f"larger than {MOST_RECORD_BYTES // 1024 // 1024} MiB; only journal exports are")
    return content


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with file.open("rb") as source:
        yield source


@contextmanager
def _bar(words: str) -> Iterator[Callable[[int, int], None]]:
    """Lend a progress bar (done, of how many) on a terminal; elsewhere nothing is drawn."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(words, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _bars(words: str) -> Iterator[Callable[[str, int, int], None]]:
    """Lend a progress bar that says what it is at; 0 of how many: not known."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(words, total=None)
        yield lambda what, done, total: progress.update(
            task, description=f"{words} {what}", completed=done, total=total or None
        )


# ------------------------------------------------------------------------------------------- export and check our own


@evidence.command(short_help="Write the whole journal to a file that anybody can check.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@place.options
def export(file: Path, config: Path | None, data: Path) -> None:
    """Write the journal with its checkpoints to FILE as JSON lines; `-` is standard output. Digests and ids only.

    Check it with `procot evidence verify FILE --keys jwks.json`, here or elsewhere.
    """
    configure(level="warning")
    if str(file) == "-":
        loop.run(_export_to(sys.stdout.buffer, config, data))
        return
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with draft.open("wb") as out:
            count = loop.run(_export_to(out, config, data))
            out.flush()
            os.fsync(out.fileno())
        draft.rename(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written ({error.strerror})") from error
    finally:
        draft.unlink(missing_ok=True)
    console.print(f"wrote {_number(count, 'entry', 'entries')} to {file}", markup=False, soft_wrap=True)


async def _export_to(out: BinaryIO, config: Path | None, data: Path) -> int:
    count = 0
    async with place.database(config, data) as database:
        await _must_have_journal(database)
        with _bar("exporting") as move:
            async with database.connection() as connection:
                async for line in journal.export(connection, move):
                    out.write(escaped(json.dumps(line, ensure_ascii=False, separators=(",", ":"))).encode() + b"\n")
                    count += "entry" in line
    return count


@evidence.command(short_help="Check the journal against everything that was kept.")
@_KEYS
@as_json()
@place.options
def check(keys: Path | None, json_output: bool, config: Path | None, data: Path) -> None:
    """Check our own journal, and every body against what it tells of it.

    Every entry, root and signature is checked, and that the journal goes on from the head kept beside the keys. Each
    raw message, answer, sealed record, certificate and scan is hashed again; a difference is named by table, id and
    column. Reads everything once; nobody is held up. Exit status 1 where something is wrong.
    """
    configure(level="warning")
    found = loop.run(_check(_known(keys, config, data), config, data))
    if json_output:
        emit(_for_machines(found))
    else:
        _for_people(found)
    sys.exit(_NOT_GOOD if found.problems else 0)


def _for_machines(found: Checked) -> dict[str, Any]:
    return {
        "good": not found.problems, "entries": found.entries, "checkpoints": found.checkpoints,
        "unsealed": found.unsealed, "time": found.time or None, "problems": found.problems,
        "hashed": found.bodies.hashed, "removed": found.bodies.removed, "unchecked": found.bodies.unchecked,
        "differences": found.bodies.told(),
    }  # fmt: skip


def _for_people(found: Checked) -> None:
    waits = f", {_number(found.unsealed, 'waits', 'wait')} for the next one" if found.unsealed else ""
    last = f", the last of {found.time}" if found.time else ""
    console.print(
        f"{_number(found.entries, 'entry', 'entries')} under "
        f"{_number(found.checkpoints, 'checkpoint', 'checkpoints')}{last}{waits}: "
        + ("NOT good" if found.problems else "good"),
        markup=False, soft_wrap=True,
    )  # fmt: skip
    for table, count in found.bodies.hashed.items():
        removed = found.bodies.removed[table]
        apart = f", {removed} without a body (removed after their time, erased, or never here)" if removed else ""
        console.print(f"  {table}: {count} hashed{apart}", markup=False, soft_wrap=True)
    for said in [*found.problems, *found.bodies.places, *(f"not checked: {one}" for one in found.bodies.unchecked)]:
        errors.print(f"  {printable(str(said))}", markup=False, soft_wrap=True)


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


async def _check(keys: Mapping[str, bytes], config: Path | None, data: Path) -> Checked:
    async with place.database(config, data) as database:
        await _must_have_journal(database)
        with _bars("checking") as move:
            return await journal.check(database, keys, move, keyring=_keyring(config, data))


def _keyring(config: Path | None, data: Path) -> Keyring | None:
    """Return the keys of this machine; None where they are not here, or not ours to read."""
    ring = Keyring(load(config).keys_directory if config else data / "keys")
    try:
        if not (ring.directory / "index.key").exists():
            return None
        ring.open()
    except (KeyMissingError, OSError):
        return None
    return ring


async def _must_have_journal(database: Database) -> None:
    if await Schema().refresh(database) < store.LEVEL:
        raise ConfigError("this database has no journal yet; bring it to this version by `procot migrate`")


# ------------------------------------------------------------------------------------------------------------ accept


@evidence.command(short_help="Let the signer go on from a journal that it cannot join to its head.")
@click.option("--branch", "size", type=click.IntRange(min=0), required=True, metavar="SIZE",
              help="how many entries this database's journal has: `evidence check` tells")  # fmt: skip
@click.option("--reason", required=True, help="why this is the right database; it is kept")
@place.options
def accept(size: int, reason: str, config: Path | None, data: Path) -> None:
    """Take this database's journal for the right one, and sign on from it.

    The signer stops where the database is not the one it signed: an older copy, another one, or where its own head
    beside the keys was lost. Every entry and signature is checked first; a journal that is not good by itself is not
    accepted. What was signed since stays provable by its receipts, as another branch. An entry `restored` says so, and
    the registry is asked before anything is sent. Where gateways have key directories of their own, say it for each.
    """
    configure(level="warning")
    if not reason.strip():
        raise ConfigError("--reason: say why this is the right database")
    aside = loop.run(_accept(size, reason.strip()[:MOST_REASON], config, data))
    kept = f"; the head before lies in {aside}" if aside else ""
    console.print(f"the journal goes on from {size} entries{kept}", markup=False, soft_wrap=True)


async def _accept(size: int, reason: str, config: Path | None, data: Path) -> Path | None:
    ring = _keyring(config, data)
    if ring is None:
        raise ConfigError("the keys are not here, or not yours to read; run it where the gateway signs, as its user")
    async with place.database(config, data) as database:
        await _must_have_journal(database)
        with _bars("checking") as move:
            found = await journal.check(database, ring.public, move)
        if found.chain:
            raise ConfigError(f"the journal in this database is not good by itself: {found.chain}; restore a backup")
        async with database.transaction() as connection:
            await store.begin_alone(connection)
            jws = await signer.accept(connection, ring, size=size)
            await store.note_branch(connection, actor=f"operator:{who()}", size=size, reason=reason)
        memory = Memory(ring.directory)
        aside = memory.put_aside()
        memory.write(jws, committed=True)
    return aside
