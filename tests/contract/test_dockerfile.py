"""The Dockerfile keeps its promises: multi-stage, slim, non-root, health check, one image whose role is its command."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.cli.main import procot

if TYPE_CHECKING:
    from types import ModuleType

STEPS = Path(__file__).parent.parent / "docker" / "steps.py"


@pytest.fixture(scope="module")
def steps() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docker_steps", STEPS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docker_steps"] = module
    spec.loader.exec_module(module)
    return module


def test_it_compiles_on_a_full_base_and_ends_on_the_slim_one_of_the_same_python(steps: ModuleType) -> None:
    build, final = (stage[0][1].removesuffix(" AS build") for stage in steps.stages())
    assert final.endswith("-slim-bookworm")
    assert build == final.replace("-slim", "")


def test_it_installs_by_the_lock_file_with_hashes(steps: ModuleType) -> None:
    installs = [rest for keyword, rest in steps.stages()[0] if keyword == "RUN" and "pip install" in rest]
    assert len(installs) > 1
    for command in (part for rest in installs for part in rest.split("&&") if "pip install" in part):
        assert "--require-hashes -r requirements/" in command or "--no-deps" in command


def test_it_ends_as_a_user_without_rights(steps: ModuleType) -> None:
    last = [rest for keyword, rest in steps.stages()[1] if keyword == "USER"]
    assert last == ["procot"]
    assert not [rest for keyword, rest in steps.stages()[1] if keyword == "RUN" and "pip" in rest]


def test_everything_it_copies_exists(steps: ModuleType) -> None:
    for keyword, rest in steps.stages()[0]:
        if keyword == "COPY":
            assert all((steps.ROOT / name).exists() for name in rest.split()[:-1]), rest


def test_its_command_is_a_role_and_its_health_check_asks_readyz(steps: ModuleType) -> None:
    final = dict(steps.stages()[1])
    assert json.loads(final["ENTRYPOINT"]) == ["procot"]
    role, *options = json.loads(final["CMD"])
    assert role in procot.commands
    assert options[0] == "--config"
    assert "/readyz" in final["HEALTHCHECK"]
