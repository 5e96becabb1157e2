"""`procot facilities`: who may send, in the configuration file; comments and order of the file stay as they are."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway import plugins
from gateway.cli import loop, place
from gateway.cli.output import as_json, console, emit, table
from gateway.cli.setup import checked
from gateway.config import load
from gateway.contract.facility import ZONES
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.contract.facility import FacilityProfile

_BLOCK = re.compile(r"[ \t]*\[\[[ \t]*facility[ \t]*\]\]")
_WITHIN = re.compile(r"[ \t]*\[\[?[ \t]*facility[ \t]*\.")
_HEADER = re.compile(r"[ \t]*\[[^\]\"]")
_KEY = re.compile(r"[a-z_]+", re.ASCII)
_CONNECT_S = 5.0
_FILE = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=True, help="configuration file"
)
_START = "it counts from the gateway's next start"


@click.group()
def facilities() -> None:
    """The hospitals that may send ([[facility]] blocks)."""


@facilities.command(name="list")
@as_json()
@place.options
def list_facilities(json_output: bool, config: Path | None, data: Path) -> None:
    """List facilities, what tells them, and where answers go."""
    rows = [_row(profile) for profile in place.settings(config, data).facility]
    if json_output:
        for row in rows:
            emit(row)
    else:
        columns = ("code", "name", "region", "zone", "adapter", "identified by", "certificates go to")
        table(columns, (tuple(row.values()) for row in rows))


def _row(profile: FacilityProfile) -> dict[str, Any]:
    marks = {"MSH-3": profile.applications, "from": profile.peers, "certificate": profile.certificates}
    known = [f"{name} {', '.join(values)}" for name, values in marks.items() if values]
    zone = next((short for short, name in ZONES.items() if name == profile.time_zone), profile.time_zone)
    answers = ", application answers too" if profile.application_answer == "listener" else ""
    return {
        "code": profile.code,
        "name": profile.name,
        "region": profile.region,
        "time_zone": zone,
        "adapter": profile.adapter,
        "identified_by": "; ".join(["MSH-4", *known]) + " (insecure)" * bool(profile.insecure),
        "certificates_go_to": f"{profile.deliver_to}{answers}" if profile.deliver_to else "pick-up over HTTP",
    }


@facilities.command(short_help="Add a [[facility]] block.")
@click.argument("code")
@click.option("--region", required=True, metavar="CODE", help="its kabupaten or kota, four digits")
@click.option("--name", help="its name on records")
@click.option("--time-zone", metavar="ZONE", help="WIB, WITA, WIT or a name such as Asia/Jakarta")
@click.option("--adapter", help="hospital adapter")
@click.option("--deliver-to", metavar="HOST:PORT", help="its MLLP listener; without one it fetches certificates")
@click.option("--peer", "peers", multiple=True, metavar="NETWORK", help="where it connects from; may be repeated")
@click.option("--application", "applications", multiple=True, metavar="MSH-3", help="its systems; may be repeated")
@click.option("--certificate", "certificates", multiple=True, metavar="NAME",
              help="names its TLS certificate bears; may be repeated")  # fmt: skip
@click.option(
    "--insecure", type=click.Choice(["msh-4"]), help="it is known by nothing but MSH-4, which anybody can write"
)
@click.option("--set", "more", multiple=True, metavar="KEY=VALUE",
              help="any other key of docs/configuration.md, the value as in TOML; may be repeated")  # fmt: skip
@_FILE
def add(
    code: str, region: str, name: str | None, time_zone: str | None, adapter: str | None, deliver_to: str | None,
    peers: tuple[str, ...], applications: tuple[str, ...], certificates: tuple[str, ...], insecure: str | None,
    more: tuple[str, ...], config: Path,
) -> None:  # fmt: skip
    """Add a facility to the configuration file, if the whole file is good with it.

    CODE is MSH-4, exactly as the sender writes it. The file's own text stays; the block goes to its end.
    """
    block: dict[str, Any] = {
        "code": code, "name": name, "region": region, "time_zone": time_zone, "adapter": adapter,
        "deliver_to": deliver_to, "peers": list(peers), "applications": list(applications),
        "certificates": list(certificates), "insecure": insecure,
    }  # fmt: skip
    block = {key: value for key, value in block.items() if value} | dict(_setting(text) for text in more)

    def changed(text: str) -> str:
        lines = "".join(f"{key} = {_toml(value)}\n" for key, value in block.items())
        return f"{text.rstrip()}\n\n[[facility]]\n{lines}".lstrip("\n")

    _rewrite(config, changed, lambda values: {**values, "facility": [*values.get("facility", []), block]})
    console.print(f"added {code} to {config}; {_START}", markup=False, soft_wrap=True)


def _setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    key = key.strip()
    try:
        if not _KEY.fullmatch(key):
            raise ValueError("no key")  # noqa: TRY301 - the same sentence for both
        return key, tomllib.loads(f"value = {value}")["value"]
    except ValueError:
        raise ConfigError(f"--set {text}: write KEY=VALUE, texts in quotes: name_order='\"family_given\"'") from None


def _toml(value: Any) -> str:
    """Return a value as TOML writes it: JSON's strings, numbers and lists are TOML's, but for DEL."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@facilities.command(short_help="Remove a [[facility]] block.")
@click.argument("code")
@click.option("--yes", is_flag=True, help="do it; without this nothing is changed")
@_FILE
def remove(code: str, yes: bool, config: Path) -> None:
    """Remove a facility from the configuration file: its messages are answered AR from the next start on.

    What it sent stays. Its open births need the block: remove it when `procot births list --facility CODE` is done.
    """
    found = [number for number, profile in enumerate(load(config).facility) if profile.code == code]
    if not found:
        raise ConfigError(f"{code}: {config} has no such facility; `procot facilities list` shows them")
    if not yes:
        raise ConfigError(f"{code}: its block would be removed from {config}; say --yes to do it")

    def kept(values: dict[str, Any]) -> dict[str, Any]:
        left = [block for block in values["facility"] if block.get("code") != code]
        return {**values, "facility": left} if left else {k: v for k, v in values.items() if k != "facility"}

    _rewrite(config, lambda text: _without(text, found[0]), kept)
    console.print(f"removed {code} from {config}; {_START}", markup=False, soft_wrap=True)


def _without(text: str, number: int) -> str:
    """Return a file's text without its block of that number; comments behind the block's last key stay."""
    lines = text.splitlines(keepends=True)
    begins = [n for n, line in enumerate(lines) if _BLOCK.match(line)]
    if number >= len(begins):
        return text
    first = end = begins[number]
    for n in range(first + 1, len(lines)):
        if (_HEADER.match(lines[n]) and not _WITHIN.match(lines[n])) or _BLOCK.match(lines[n]):
            break
        if lines[n].strip() and not lines[n].lstrip().startswith("#"):
            end = n
    return "".join(lines[:first] + lines[end + 1 :])


def _rewrite(path: Path, change: Callable[[str], str], expected: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change a configuration file's text, if it then says what is expected and is good as a whole. Raises ConfigError.

    The new text takes the old one's place at once, with its mode; killed before, nothing happened.
    """
    path = path.resolve()
    before = path.read_text(encoding="utf-8")
    load(path)  # a file that was bad before is not ours to change
    after = change(before)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(after)
            file.flush()
            os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
            os.fsync(file.fileno())
        try:
            checked(load(draft))
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(draft), str(path)) + "; nothing was changed") from None
        if tomllib.loads(after) != expected(tomllib.loads(before)):
            raise ConfigError(f"{path}: is written in a way that cannot be changed safely; edit it by hand")
        if path.read_text(encoding="utf-8") != before:
            raise ConfigError(f"{path}: was changed meanwhile; nothing was done, try again")
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


@facilities.command(short_help="Check a facility's adapter and its listener.")
@click.argument("code", required=False)
@as_json()
@place.options
def check(code: str | None, json_output: bool, config: Path | None, data: Path) -> None:
    """Load the adapter and connect to the listener of one facility, or of all. No message is sent.

    Exit status 1 where one is not reached.
    """
    profiles = [p for p in place.settings(config, data).facility if code in (None, p.code)]
    if code is not None and not profiles:
        raise ConfigError(f"{code}: no such facility; `procot facilities list` shows them")
    rows = loop.run(_looked_at(profiles))
    if json_output:
        for row in rows:
            emit(row)
    else:
        table(("code", "adapter", "listener"), (tuple(row.values())[:3] for row in rows))
    if not all(row["good"] for row in rows):
        raise SystemExit(1)


async def _looked_at(profiles: list[FacilityProfile]) -> list[dict[str, Any]]:
    said = await asyncio.gather(*(_listener(profile.deliver_to) for profile in profiles))
    rows = []
    for profile, listener in zip(profiles, said, strict=True):
        try:
            plugins.load(plugins.HOSPITALS, profile.adapter)
            adapter = profile.adapter
        except ConfigError as error:
            adapter = str(error)
        good = adapter == profile.adapter and not listener.startswith("not reached")
        rows.append({"code": profile.code, "adapter": adapter, "listener": listener, "good": good})
    return rows


async def _listener(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host:
        return "none: it fetches certificates over HTTP"
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return f"not reached at {address} ({reason})"
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return f"reached at {address}"
