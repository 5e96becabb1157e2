"""Attacks of whoever took over the embedded PostgreSQL, which root started, on the keys beside it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import asyncpg

from gateway.evidence.keys import Keyring
from gateway.store.embedded import EmbeddedPostgres
from tests.attack.attack import Attack, Ground, refused


def _data_directory() -> Path:
    """Make a data directory as root makes it, with keys, where every user may walk to it."""
    above = Path(tempfile.mkdtemp(prefix="procot-attack-"))
    above.chmod(0o755)
    (above / "var").mkdir(mode=0o700)
    Keyring(above / "var" / "keys").open()
    return above / "var"


def _status(pid: int | None) -> str:
    return Path(f"/proc/{pid}/status").read_text("ascii", "replace")


async def _read_the_keys(_: Ground) -> str:
    data = await asyncio.to_thread(_data_directory)
    server = EmbeddedPostgres(data / "postgres", within=data)
    try:
        await server.start()
        return await _as_its_superuser(server, data)
    finally:
        await server.stop()
        shutil.rmtree(data.parent)


async def _as_its_superuser(server: EmbeddedPostgres, data: Path) -> str:
    if os.geteuid() != 0:  # then server and keys have one owner, and only the gateway's role is kept away
        connection = await asyncpg.connect(server.dsn)
    else:
        refused("CapAmb:\t" + "0" * 16 in _status(server.pid), "a capability that reads every file of the machine")
        connection = await asyncpg.connect(server.superuser_dsn)
    try:
        for path in list((data / "keys").glob("*")):
            try:
                await connection.fetchval("SELECT pg_read_binary_file($1)", str(path))
            except asyncpg.InsufficientPrivilegeError:
                continue
            refused(holds=False, otherwise=f"the key {path.name}")
    finally:
        await connection.close()
    return "permission denied"


ATTACKS = (Attack("E6", "reading the keys through PostgreSQL", _read_the_keys),)
