"""Which doors a configuration leaves open to anybody. Nobody serves before each is shut or said to be open."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import Config
    from gateway.contract.facility import FacilityProfile


def shut(config: Config) -> None:
    """Raise ConfigError naming every door that is open without having been said to be."""
    found = [*_listeners(config), *map(_unknown, _anybody(config))]
    if found:
        raise ConfigError("; ".join(found))


def _listeners(config: Config) -> Iterator[str]:
    mllp, http = config.mllp, config.http
    unbound = [facility.code for facility in config.facility if not facility.peers]
    if not is_local(mllp.listen) and not mllp.insecure and (unbound or not config.facility):
        yield (
            f"mllp.listen = {mllp.listen!r}: is open to the network without TLS; listen on 127.0.0.1 and use "
            'mllp.tls_listen, give every facility its peers, or say insecure = "plain" in [mllp]'
        )
    if not is_local(http.listen) and not http.insecure:
        yield (
            f"http.listen = {http.listen!r}: is open to the network without TLS; listen on 127.0.0.1 behind a proxy "
            'that speaks TLS, or say insecure = "plain" in [http]'
        )


def _anybody(config: Config) -> list[FacilityProfile]:
    return [facility for facility in config.facility if not facility.bound and not facility.insecure]


def _unknown(facility: FacilityProfile) -> str:
    return (
        f"facility {facility.code}: is known by nothing but MSH-4, which anybody can write; name its certificates or "
        'peers, or say insecure = "msh-4"'
    )


def is_local(address: str) -> bool:
    """Tell whether HOST:PORT is reached from this machine alone; a name other than localhost may be any."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
