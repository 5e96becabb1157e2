"""Where in a JSON document something is: JSON Pointer (RFC 6901). "" is the whole, "/" a member whose name is empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 120  # a member's name may be a stranger's


def pointer(parts: Iterable[str | int]) -> str:
    """Return the pointer to a place: names of members and numbers of items, from the outside in."""
    escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    return "".join(f"/{part}" for part in escaped)[:LONGEST]
