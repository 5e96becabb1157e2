"""Every attack of this folder is refused. `make attack` performs the same tests and prints each (run.py)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.attack.attack import Attack, Ground, NotRefusedError, refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.store.embedded import EmbeddedPostgres

_NO_SUBJECT = {"attack", "run", Path(__file__).stem}


def _all() -> list[Attack]:
    """Return the attacks of each module beside this one, in the order of the issue's lines."""
    subjects = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NO_SUBJECT)
    modules = [importlib.import_module(f"tests.attack.{subject}") for subject in subjects]
    return sorted((attack for module in modules for attack in module.ATTACKS), key=lambda attack: attack.line)


@pytest.mark.parametrize("attack", _all(), ids=lambda attack: f"{attack.line}: {attack.name}")
async def test_the_attack_is_refused(
    attack: Attack,
    database: str,
    postgres_server: EmbeddedPostgres,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    name = database.partition("@/")[2].partition("?")[0]
    admin = postgres_server.superuser_dsn.replace("@/postgres?", f"@/{name}?")
    how = await attack.run(Ground(tmp_path, database, admin))
    assert how, "an attack tells how it was refused"
    record_property("refused", how)


def test_an_attack_that_is_not_refused_fails_its_test() -> None:
    with pytest.raises(NotRefusedError, match="the akta of another child"):
        refused(holds=False, otherwise="the akta of another child")


def test_no_two_attacks_have_one_name() -> None:
    names = [(attack.line, attack.name) for attack in _all()]
    assert len(names) == len(set(names))
