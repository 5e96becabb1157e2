"""Adapters by name, through entry points: the only way they come in, in-tree ones included.

An adapter that is not installed is a configuration error that names those that are.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.contract.ports import HospitalAdapter, RegistryAdapter, RegistrySettings

HOSPITALS = "gateway.hospital"
REGISTRIES = "gateway.registry"
SANDBOXES = "gateway.sandbox"


def load(group: str, name: str) -> Any:  # noqa: ANN401 - what an entry point names
    """Return the object of an entry point. Raises ConfigError."""
    found = entry_points(group=group)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none; install Procot with `make demo`, or pip install"
        raise ConfigError(f"{group}: there is no adapter {name!r}; installed: {known}")
    return found[name].load()


def hospital(name: str) -> HospitalAdapter:
    """Return a hospital adapter. Raises ConfigError."""
    adapter: HospitalAdapter = load(HOSPITALS, name)()
    return adapter


def registry(name: str, settings: RegistrySettings) -> RegistryAdapter:
    """Open a registry adapter. Raises ConfigError."""
    opener: Callable[[RegistrySettings], RegistryAdapter] = load(REGISTRIES, name)
    return opener(settings)


def load_module(group: str, name: str) -> Any:  # noqa: ANN401 - what an entry point names
    """Return the module in which an entry point lives, for the types its opener takes. Raises ConfigError."""
    return importlib.import_module(load(group, name).__module__)
