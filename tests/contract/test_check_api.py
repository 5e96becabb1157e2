"""`make check-api` in short: what schemathesis covers of schemas/openapi.json in seconds, as each kind of token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.check_api import attack, roles
from tests.simulators.system import system

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("role", ["operator", "officer", "facility"])
async def test_every_answer_is_one_that_the_document_names(database: str, tmp_path: Path, role: str) -> None:
    async with system(database, tmp_path) as running:
        token = (await roles(running.gateway.context.database))[role]
        status, said = await attack(running.http, token, seconds=15, place=tmp_path, phases="examples,coverage")
    assert status == 0, said
