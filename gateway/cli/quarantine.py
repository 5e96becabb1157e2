"""`procot quarantine`: what could not be taken, why, and what to do with it. Bytes are shown only when asked for."""

from __future__ import annotations

import base64
import json
import sys
from typing import TYPE_CHECKING, Any

import click

from gateway import plugins
from gateway.app import RUN_FILE, engine, split_address, utc_now
from gateway.cli import loop, place
from gateway.cli.addresses import ADDRESS
from gateway.cli.births import who
from gateway.cli.output import as_json, console, details, emit, errors, table, when
from gateway.config import load
from gateway.contract.visible import printable
from gateway.errors import ConfigError, ProcotError
from gateway.hl7.charset import decode
from gateway.hl7.header import salvage_header
from gateway.mllp.client import MllpClient, acknowledgement
from gateway.store import quarantine as store

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Config
    from gateway.pipeline.rehearsal import Report
    from gateway.store.database import Database
    from gateway.store.quarantine import Aside

_PAGE = 50
_ANSWER_S = 30.0
_ACCEPTED = ("AA", "CA")
_NOT_DELIVERED = 2
# What the verdict cannot know: it is of the content alone.
_BUT = {"CONTROL_ID_REUSED": " by its content; under the used control id a replay gets AE 205"}
_NUMBER = click.argument("number", metavar="ID", type=click.IntRange(1, 2**63 - 1))


@click.group(short_help="Messages that were not taken, and why.")
def quarantine() -> None:
    """Messages that were not taken: answered AR or CR, or under a control id that was used.

    They were never accepted and no birth knows them; their bytes wait here until somebody has looked.
    """


# ----------------------------------------------------------------------------------------------------------- list


@quarantine.command(name="list")
@click.option("--reason", metavar="CODE", help="only those with this finding, for example FACILITY_UNKNOWN")
@click.option("--all", "resolved", is_flag=True, help="also those that were replayed or discarded")
@click.option("--limit", type=click.IntRange(1, 1000), default=_PAGE, show_default=True,
              metavar="N", help="at most so many, up to 1000")  # fmt: skip
@click.option("--cursor", type=click.IntRange(1), help="where the page before ended")
@as_json()
@place.options
def list_quarantine(
    reason: str | None, resolved: bool, limit: int, cursor: int | None, json_output: bool, config: Path | None,
    data: Path,
) -> None:  # fmt: skip
    """List them, the newest first."""
    items, following = loop.run(_list(reason, resolved, limit, cursor, config, data))
    if json_output:
        for item in items:
            emit(item)
    else:
        columns = ("id", "received", "from", "reason", "bytes", "resolved")
        table(
            columns,
            ((i["id"], when(i["received_at"]), i["peer"], i["reason"], i["bytes"], i["resolution"]) for i in items),
            whole=2,
        )
    if following:
        errors.print(f"more: --cursor {following}", markup=False, soft_wrap=True)


async def _list(
    reason: str | None, resolved: bool, limit: int, cursor: int | None, config: Path | None, data: Path
) -> tuple[list[dict[str, Any]], int | None]:
    async with place.database(config, data) as database:
        return await store.listing(database, reason=reason, resolved=resolved, before=cursor, limit=limit)


# ----------------------------------------------------------------------------------------------------------- show


@quarantine.command()
@_NUMBER
@click.option("--raw", is_flag=True, help="write the bytes as they came, and nothing else; they may be about people")
@as_json()
@place.options
def show(number: int, raw: bool, json_output: bool, config: Path | None, data: Path) -> None:
    """Show why one was refused, and what the verdict on it would be now."""
    aside = loop.run(_read(number, config, data))
    if raw:
        _write(aside, json_output)
        return
    now = _verdict(aside, place.settings(config, data)) if aside.raw else None
    if json_output:
        emit({**aside.about, "now": now.as_dict("en") if now else None})
        return
    lines = [(name, when(value) if name.endswith("_at") else value) for name, value in aside.about.items()]
    if now is not None:
        header = now.verdict.header
        lines += [
            ("control id", header.control_id if header else ""),
            ("facility", header.facility_code if header else ""),
            ("event", now.verdict.event),
            ("verdict now", f"{now.result}{_BUT.get(aside.about['reason'], '')}"),
            *((f"{f.severity} {f.code}", f.text("en")) for f in now.findings),
        ]
    details((name.replace("_", " "), value) for name, value in lines if value not in (None, ""))


async def _read(number: int, config: Path | None, data: Path) -> Aside:
    async with place.database(config, data) as database:
        return await _found(database, number)


async def _found(database: Database, number: int) -> Aside:
    aside = await store.read(database, number)
    if aside is None:
        raise ConfigError(f"{number}: nothing in quarantine has this id (quarantine list)")
    return aside


def _write(aside: Aside, json_output: bool) -> None:
    if json_output:
        emit({**aside.about, "raw_base64": base64.b64encode(aside.raw).decode()})
    elif console.is_terminal:  # bytes of a stranger could command it
        for line in decode(aside.raw).text.replace("\r", "\n").splitlines():
            console.print(printable(line), soft_wrap=True)
    else:
        sys.stdout.buffer.write(aside.raw)
        sys.stdout.flush()


def _verdict(aside: Aside, config: Config) -> Report:
    """Judge it anew with the configuration of today. Which certificate it came with is not known any more."""
    facilities = {f.code: f.model_copy(update={"certificates": ()}) for f in config.facility}
    hospitals = {name: plugins.hospital(name) for name in {f.adapter for f in config.facility}}
    rehearsal = engine(config, facilities=facilities, hospitals=hospitals, clock=utc_now)
    return rehearsal.report(aside.raw, peer=aside.about["peer"])


# --------------------------------------------------------------------------------------------------------- replay


@quarantine.command()
@_NUMBER
@click.option("--to", "target", type=ADDRESS, metavar="HOST:PORT",
              help="where to send it; default: the MLLP listener of the running gateway")  # fmt: skip
@place.options
def replay(number: int, target: tuple[str, int] | None, config: Path | None, data: Path) -> None:
    """Send one again through the front door, when its cause is mended.

    The bytes go as they came, from this machine's address. AA or CA resolves it; another answer leaves it open, and the
    gateway quarantines the new refusal as well. Exit status: 0 accepted, 1 refused, 2 not delivered.
    """
    sys.exit(loop.run(_replay(number, target or _front_door(config, data), config, data)))


def _front_door(config: Path | None, data: Path) -> tuple[str, int]:
    """Return where the gateway listens: as it says itself while it runs, else as its configuration says."""
    settings = load(config) if config else None
    run_file = (settings.database.directory if settings else data) / RUN_FILE
    try:
        return split_address(str(json.loads(run_file.read_text(encoding="utf-8"))["mllp"]))
    except (OSError, ValueError, KeyError):
        if settings is None:
            raise ConfigError(f"no gateway runs on {data}; name its address with --to") from None
        return split_address(settings.mllp.listen)


async def _replay(number: int, target: tuple[str, int], config: Path | None, data: Path) -> int:
    async with place.database(config, data) as database:
        aside = await _found(database, number)
        _must_be_open(aside)
        try:
            code = await _send(aside.raw, target)
        except ProcotError as error:
            errors.print(f"not delivered: {number}: {error}", markup=False, soft_wrap=True)
            return _NOT_DELIVERED
        if code not in _ACCEPTED:
            why = "its sender must correct it" if code in ("AE", "CE") else "it is refused again"
            console.print(f"{code}: {why}; {number} stays open", markup=False)
            return 1
        await store.resolve(database, number, by=_by(), resolution=f"replayed: {code}", keep=True)
    console.print(f"{code}: accepted; {number} is resolved", markup=False)
    return 0


async def _send(raw: bytes, target: tuple[str, int]) -> str:
    decoded = decode(raw)
    header = salvage_header(decoded.text)
    control_id = header.control_id.encode(decoded.codec) if header else b""
    client = await MllpClient(*target).connect()
    try:
        return acknowledgement(await client.exchange(raw, control_id=control_id, timeout=_ANSWER_S))[0]
    finally:
        await client.aclose()


# -------------------------------------------------------------------------------------------------------- discard


@quarantine.command()
@_NUMBER
@click.option("--reason", required=True, help="kept beside it; no personal data")
@place.options
def discard(number: int, reason: str, config: Path | None, data: Path) -> None:
    """Close one that will not be sent again. Its bytes are removed for good; reason, time and name stay."""
    loop.run(_discard(number, reason, config, data))
    console.print(f"{number} is discarded; its bytes are gone", markup=False)


async def _discard(number: int, reason: str, config: Path | None, data: Path) -> None:
    async with place.database(config, data) as database:
        _must_be_open(await _found(database, number))
        if not await store.resolve(database, number, by=_by(), resolution=f"discarded: {reason}", keep=False):
            raise ConfigError(f"{number}: somebody resolved it a moment ago (quarantine show)")


def _must_be_open(aside: Aside) -> None:
    if not aside.open:
        about = aside.about
        raise ConfigError(f"{about['id']}: was resolved by {about['resolved_by']} before ({about['resolution']})")


def _by() -> str:
    return f"operator:{who()}"
