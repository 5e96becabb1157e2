"""Attacks of whoever took over the embedded PostgreSQL, which root started, on the keys beside it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import asyncpg

from gateway.evidence.keys import Keyring
from gateway.store.embedded import EmbeddedPostgres
from tests.attack.attack import Attack, Ground, refused


async def _read_the_keys(_: Ground) -> str:
    above = Path(tempfile.mkdtemp(prefix="procot-attack-"))
    above.chmod(0o755)
    data = above / "var"
    data.mkdir(mode=0o700)
    keys = Keyring(data / "keys")
    keys.open()
    server = EmbeddedPostgres(data / "postgres", within=data)
    try:
        await server.start()
        return await _as_its_superuser(server, data)
    finally:
        await server.stop()
        shutil.rmtree(above)


async def _as_its_superuser(server: EmbeddedPostgres, data: Path) -> str:
    if os.geteuid() != 0:  # then server and keys have one owner, and only the gateway's role is kept away
        connection = await asyncpg.connect(server.dsn)
    else:
        status = Path(f"/proc/{server.pid}/status").read_text("ascii", "replace")
        refused("CapAmb:\t" + "0" * 16 in status, "a capability that reads every file of the machine")
        connection = await asyncpg.connect(server.superuser_dsn)
    try:
        for path in (data / "keys").iterdir():
            try:
                await connection.fetchval("SELECT pg_read_binary_file($1)", str(path))
            except asyncpg.InsufficientPrivilegeError:
                continue
            refused(holds=False, otherwise=f"the key {path.name}")
    finally:
        await connection.close()
    return "permission denied"


ATTACKS = (Attack("E6", "reading the keys through PostgreSQL", _read_the_keys),)
