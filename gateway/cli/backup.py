"""`procot backup` and `procot restore`: everything of one moment in one encrypted file, and back."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from gateway.app import unreachable
from gateway.cli import loop, place
from gateway.cli.output import console, errors
from gateway.cli.trust import Trusted
from gateway.config import Config, load
from gateway.errors import ConfigError, DatabaseStartError, SignatureError, StoreUnavailableError
from gateway.evidence.files import close_directory, replace
from gateway.evidence.head import Memory
from gateway.evidence.keys import Keyring
from gateway.evidence.manifest import Manifest, sign_manifest, signer_of
from gateway.evidence.vault import Passphrase, PrivateKey, Recipient, VaultWriter, read_vault
from gateway.observe.logging import configure
from gateway.store import backup as store
from gateway.store.backup import ArchiveReader, ArchiveWriter, Summary
from gateway.store.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

PASSPHRASE = "PROCOT_BACKUP_PASSPHRASE"  # noqa: S105 - the name of a variable
_SHORTEST = 12
_ENDING = ".procot-backup"
_KEY_FILE = re.compile(r"(sign|retired)-[A-Za-z0-9_-]+\.pem|index\.key")
_CONNECT_S = 10.0
_PASSPHRASE_FILE = click.option(
    "--passphrase-file", type=click.Path(path_type=Path, dir_okay=False),
    help=f"file with the passphrase; else the environment's {PASSPHRASE}",
)  # fmt: skip


def _passphrase(file: Path | None) -> Passphrase:
    try:
        text = file.read_text("utf-8").strip() if file else os.environ.get(PASSPHRASE, "")
    except OSError as error:
        raise ConfigError(f"--passphrase-file {file}: cannot be read ({error.strerror})") from None
    if len(text) < _SHORTEST:
        raise ConfigError(
            f"a passphrase of at least {_SHORTEST} characters is needed: --passphrase-file, or {PASSPHRASE}"
        )
    return Passphrase(text)


def _pem(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{option} {path}: cannot be read ({error.strerror})") from None


# ---------------------------------------------------------------------------------------------------------- backup


@click.command(short_help="Everything of one moment into one encrypted file.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@_PASSPHRASE_FILE
@click.option("--public-key", type=click.Path(path_type=Path, dir_okay=False),
              help="X25519 public key (PEM): who makes backups need not be able to read them")  # fmt: skip
@place.options
def backup(
    directory: Path, passphrase_file: Path | None, public_key: Path | None, config: Path | None, data: Path
) -> None:
    """Write everything of one moment into one encrypted file in DIR: the database and the signing keys.

    The gateway goes on meanwhile. Settings and the secrets they name are not in it; keep them with it. It is signed by
    the key named: keep that id too, since a new machine asks for it (`restore --trust`).
    """
    to = Recipient(_pem(public_key, "--public-key")) if public_key else _passphrase(passphrase_file)
    path, summary = loop.run(_backup(directory, to, config, data))
    size = path.stat().st_size
    key_id = signer_of(summary.signature)
    console.print(f"{path}: {_what(summary)}, {size} bytes, signed by {key_id}", markup=False, soft_wrap=True)


def _what(summary: Summary) -> str:
    messages = summary.rows.get("messages", 0)
    return f"{summary.births} births, {messages} messages, {summary.files} key files, of {summary.made_at}"


async def _backup(directory: Path, to: Passphrase | Recipient, config: Path | None, data: Path) -> tuple[Path, Summary]:
    dsn = place.dsn_of(config, data)
    directory_of_keys = place.settings(config, data).keys_directory
    keys = _keys(directory_of_keys)
    ring = Keyring(directory_of_keys)
    ring.open()
    now = dt.datetime.now(dt.UTC)
    path = directory / f"procot-{now:%Y%m%dT%H%M%SZ}{_ENDING}"
    draft = path.with_name(f"{path.name}.partial")
    try:
        await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"{draft}: cannot be written ({error.strerror})") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            async with _connected(dsn) as connection:
                summary = await _write(connection, file, to, keys, ring)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError as error:
        raise ConfigError(f"{draft}: cannot be written ({error.strerror}); nothing was kept") from None
    finally:
        draft.unlink(missing_ok=True)
    return path, summary


async def _write(
    connection: asyncpg.Connection, file: BinaryIO, to: Passphrase | Recipient, keys: dict[str, bytes], ring: Keyring
) -> Summary:
    def sign(summary: Summary, entries: int) -> str:
        return sign_manifest(Manifest(summary.sha256, summary.made_at, entries), ring.signing)

    vault = VaultWriter(file, to)
    summary = await store.dump(connection, ArchiveWriter(vault.write), keys, sign)
    vault.close()
    return summary


def _keys(directory: Path) -> dict[str, bytes]:
    found = {
        path.name: path.read_bytes()
        for pattern in ("sign-*.pem", "retired-*.pem", "index.key")
        for path in directory.glob(pattern)
    }
    if "index.key" not in found or not any(name.startswith("sign-") for name in found):
        raise ConfigError(f"{directory}: the keys are not there; a backup without them could not be used")
    return found


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    try:
        connection = await store.connect_for_long(dsn, timeout_s=_CONNECT_S)
    except StoreUnavailableError as error:
        raise DatabaseStartError(unreachable(dsn, error)) from error
    try:
        yield connection
    finally:
        await connection.close(timeout=_CONNECT_S)


# --------------------------------------------------------------------------------------------------------- restore


@click.command(short_help="A backup into an empty database.")
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path, exists=True))
@_PASSPHRASE_FILE
@click.option("--private-key", type=click.Path(path_type=Path, dir_okay=False),
              help="X25519 private key (PEM), where the backup was made with --public-key")  # fmt: skip
@click.option("--check", "check_only", is_flag=True, help="read it to its end and write nothing")
@click.option("--trust", multiple=True, metavar="KEY|FILE",
              help="on a new machine: the key that signs our backups, by its id or in a JWK set")  # fmt: skip
@click.option("--unsigned", is_flag=True, help="restore it though it is not signed: made before backups were")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False),
              help="configuration of the gateway to restore; its database must be empty")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), default=Path("var"), show_default=True,
              help="directory to restore to where there is no --config")  # fmt: skip
def restore(
    source: Path, passphrase_file: Path | None, private_key: Path | None, check_only: bool, trust: tuple[str, ...],
    unsigned: bool, config: Path | None, data: Path,
) -> None:  # fmt: skip
    """Restore the newest backup in DIR (or the file DIR) into an empty database, and the keys beside it.

    No gateway may run there. What is restored may be behind the registry: births without a certificate are asked about
    before anything is sent, and registry, gateway and hospital are compared as soon as the gateway runs.

    It must be signed by a key that lies here already, or that --trust names: `procot backup` and `procot keys list`
    tell the id, /.well-known/jwks.json holds all of them.
    """
    configure(level="warning")
    by = PrivateKey(_pem(private_key, "--private-key")) if private_key else _passphrase(passphrase_file)
    path = _newest(source)
    summary, keys = _check(path, by)
    settings = load(config) if config else Config.model_validate({"database": {"directory": data}})
    trusted = Trusted.of(settings.keys_directory, trust, keys)
    signer = trusted.judge(path, summary, unsigned=unsigned, only_look=check_only)
    if check_only:
        console.print(f"{path}: good, {_what(summary)}, {signer}", markup=False, soft_wrap=True)
        return
    for warning in trusted.warnings(path, summary):
        errors.print(f"procot: {warning}", markup=False, soft_wrap=True)
    loop.run(_restore(path, by, (summary, keys), settings))
    console.print(f"restored {path}: {_what(summary)}, {signer}", markup=False, soft_wrap=True)


def _newest(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(source.glob(f"procot-*{_ENDING}"))
    if not found:
        raise ConfigError(f"{source}: there is no backup (procot-*{_ENDING}) in it")
    return found[-1]


def _check(path: Path, by: Passphrase | PrivateKey) -> tuple[Summary, dict[str, bytes]]:
    """Read it all before anything is written: a backup that cannot be restored must leave no trace."""
    try:
        with path.open("rb") as file:
            summary, keys = store.check(ArchiveReader(read_vault(file, by)))
    except (SignatureError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if strange := [name for name in keys if not _KEY_FILE.fullmatch(name)]:
        raise ConfigError(f"{path}: holds a file {strange[0]!r}, which is no key of ours; it is not restored")
    return summary, keys


async def _restore(
    path: Path, by: Passphrase | PrivateKey, checked: tuple[Summary, dict[str, bytes]], settings: Config
) -> None:
    summary, keys = checked
    _must_fit(settings.keys_directory, keys)
    async with AsyncExitStack() as stack:
        if settings.database.dsn is None:
            server = EmbeddedPostgres(settings.database.directory / "postgres", within=settings.database.directory)
            stack.push_async_callback(server.stop)
            dsn = await server.start()
        else:
            dsn = settings.database.dsn.get_secret_value()
        connection = await stack.enter_async_context(_connected(dsn))
        await store.must_be_empty(connection)
        _put_keys(settings.keys_directory, keys)  # first: with the same keys there a second try goes on
        with path.open("rb") as file:
            await store.load(connection, ArchiveReader(read_vault(file, by)), sha256=summary.sha256)
        jws = await connection.fetchval("SELECT jws FROM journal_checkpoints ORDER BY size DESC LIMIT 1")
    memory = Memory(settings.keys_directory)
    if memory.put_aside() or jws:  # the journal goes on from the backup's end, and who restored it accepted that
        memory.write(jws or "", committed=True)


def _must_fit(directory: Path, keys: dict[str, bytes]) -> None:
    """Refuse where other keys are: what they signed could no longer be checked by whoever looks there."""
    there = {path.name: path.read_bytes() for path in directory.glob("*") if path.name in keys or path.suffix == ".pem"}
    if any(keys.get(name) != content for name, content in there.items()):
        raise ConfigError(f"{directory}: holds other keys; restore to a place without, or move them away first")


def _put_keys(directory: Path, keys: dict[str, bytes]) -> None:
    try:
        close_directory(directory)
        for name, content in keys.items():
            replace(directory / name, content)
    except OSError as error:
        raise ConfigError(f"{directory}: cannot be written ({error.strerror}); nothing was restored") from error
