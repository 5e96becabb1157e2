"""Attacks by a backup: somebody hands one over for `procot restore`, well encrypted, and it is not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.evidence import vault
from gateway.evidence.keys import Keyring
from tests.attack.attack import Attack, Ground, refused
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.forged_backup import Part, as_before_signatures, put_together, taken_apart
from tests.simulators.journey import journey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECRET = "known to the attacker too"


async def _made(ground: Ground) -> tuple[Path, Path]:
    """Make a backup of our gateway; return its configuration and the file."""
    vault.SCRYPT_N, before = 2**10, vault.SCRYPT_N  # a guess costs a second otherwise
    try:
        async with journey(ground.dsn, ground.directory):
            config = configuration(ground.directory, ground.dsn, facility=HOSPITAL)
            done = await procot(
                "backup", ground.directory / "backups", "--config", config, PROCOT_BACKUP_PASSPHRASE=_SECRET
            )
    finally:
        vault.SCRYPT_N = before
    refused(done.status == 0, f"no backup at all: {done.err}")
    (file,) = (ground.directory / "backups").iterdir()
    return config, file


async def _hand_over(ground: Ground, change: Callable[[list[Part]], list[Part]], *more: str) -> str:
    """Restore a changed backup on the machine that made it; return why it was refused."""
    config, file = await _made(ground)
    put_together(file, change(taken_apart(file, _SECRET)), _SECRET)
    done = await procot("restore", file, "--check", *more, "--config", config, PROCOT_BACKUP_PASSPHRASE=_SECRET)
    refused(done.status == 1, f"a restored backup: {done.out}")
    return done.err.strip().rpartition(": ")[2][:100]


async def _by_a_stranger(ground: Ground) -> str:
    _, file = await _made(ground)
    other = ground.directory / "new"
    other.mkdir()
    theirs = Keyring(other / "keys")
    theirs.open()
    config = configuration(other, ground.dsn, facility=HOSPITAL)
    done = await procot("restore", file, "--check", "--config", config, PROCOT_BACKUP_PASSPHRASE=_SECRET)
    refused(done.status == 1, "a backup signed by a stranger, restored")
    refused("may be a stranger's" in done.err, f"no word about who made it: {done.err}")
    return "its key is none that is trusted here"


async def _unsigned(ground: Ground) -> str:
    return await _hand_over(ground, as_before_signatures)


async def _stripped(ground: Ground) -> str:
    return await _hand_over(ground, lambda parts: parts[:-1], "--unsigned")


async def _another_table(ground: Ground) -> str:
    def swap(parts: list[Part]) -> list[Part]:
        tokens = next(part for part in parts if part.about.get("name") == "tokens")
        tokens.blocks = [b"an operator's token of the attacker"]
        return parts

    return await _hand_over(ground, swap)


async def _out_of_the_directory(ground: Ground) -> str:
    def climb(parts: list[Part]) -> list[Part]:
        return [*parts[:-2], Part({"entry": "file", "name": "../../../etc/cron.d/x"}, [b"x"]), *parts[-2:]]

    return await _hand_over(ground, climb)


ATTACKS = (
    Attack("E6", "a backup that a stranger signed", _by_a_stranger),
    Attack("E6", "a backup that nobody signed", _unsigned),
    Attack("E6", "a backup whose signature was taken away", _stripped),
    Attack("E6", "a backup with a table's file swapped for another", _another_table),
    Attack("E6", "a backup with a file that climbs out of its directory", _out_of_the_directory),
)
