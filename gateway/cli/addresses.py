"""Addresses as people write them on a command line, and whether one can be had."""

from __future__ import annotations

import socket

import click

from gateway.app import split_address
from gateway.errors import ConfigError

_HIGHEST_PORT = 65535


class _Address(click.ParamType[tuple[str, int]]):
    """HOST:PORT."""

    name = "address"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return host and port. A wrong one is a usage error."""
        if isinstance(value, tuple):
            return value
        host, _, port = value.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > _HIGHEST_PORT:
            self.fail(f"{value!r}: write HOST:PORT, for example 127.0.0.1:2575", param, ctx)
        return split_address(value)


ADDRESS = _Address()


def check_free(wanted: dict[str, str], *, instead: str) -> None:
    """Raise ConfigError naming every address, of those by purpose, at which somebody listens already."""
    taken = [f"{address} ({purpose})" for purpose, address in wanted.items() if _is_taken(*split_address(address))]
    if taken:
        raise ConfigError(f"another program listens on {', '.join(taken)}; stop it, or {instead}")


def _is_taken(host: str, port: int) -> bool:
    if port == 0:
        return False
    try:
        ((family, _, _, _, place), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is not taken
            probe.bind(place)
    except OSError:
        return True
    return False
