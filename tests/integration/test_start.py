"""Starting beside others and on a database that is not ready for it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway.app import Gateway
from gateway.config import parse
from gateway.errors import DatabaseStartError

if TYPE_CHECKING:
    from pathlib import Path

WRITE = """
import sys
from pathlib import Path
from gateway.app import write_private
for _ in range(100):
    write_private(Path(sys.argv[1]), '"whole"')
"""


async def test_a_database_that_takes_no_writes_is_told_in_a_sentence(database: str, tmp_path: Path) -> None:
    connection = await asyncpg.connect(database)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")  # so that there is something to write
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await connection.close()
    config = {"database": {"dsn": database, "directory": str(tmp_path)}, "mllp": {"listen": "127.0.0.1:0"}}
    gateway = Gateway(parse(config, where="test"))
    with pytest.raises(DatabaseStartError, match="takes no writes") as raised:
        async with gateway.running():
            pass
    assert "start again" in str(raised.value)


def test_gateways_that_share_a_directory_write_the_same_file_beside_each_other(tmp_path: Path) -> None:
    file = tmp_path / "procot.json"
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(file)]) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert json.loads(file.read_text()) == "whole"
    assert list(tmp_path.iterdir()) == [file]
