"""The compiled build (`make compiled`): which modules it is made of, and that the tests of that build test it."""

from __future__ import annotations

import importlib
import os
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"][
    "wheel"
]["hooks"]["mypyc"]
MODULES = [name.removeprefix("/") for name in HOOK["include"]]


@pytest.mark.parametrize("name", MODULES)
def test_each_module_that_is_to_be_compiled_is_there(name: str) -> None:
    assert (ROOT / name).is_file(), f"pyproject.toml, hooks.mypyc: {name} is not there any more; name its successor"


def test_a_wheel_is_plain_python_unless_somebody_asks() -> None:
    assert HOOK["enable-by-default"] is False


@pytest.mark.skipif("PROCOT_COMPILED" not in os.environ, reason="only in `make test-compiled`")
def test_the_compiled_build_is_what_is_tested() -> None:
    loaded = {name: importlib.import_module(name.removesuffix(".py").replace("/", ".")).__file__ for name in MODULES}
    plain = [name for name, file in loaded.items() if str(file).endswith(".py")]
    assert plain == []
