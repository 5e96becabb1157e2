"""Which segments stand where: what is missing, too many, out of order or not foreseen (HL7 v2.5 chapter 2.5.2).

The names of a message's segments are laid along the tree of its structure. A segment goes to the first place from
where the last one stood, in its own group before the groups around it; what fits nowhere any more is a stray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.hl7.reference import Node, Structure


class Misfit(NamedTuple):
    """One segment that is not where, or as often as, the structure has it. `sequence` counts its like from 1."""

    kind: Literal["missing", "repeated", "order", "unexpected"]
    name: str
    sequence: int


class _Level:
    """A group (or the message itself) that is being filled."""

    __slots__ = ("at", "children", "counts", "strays")

    def __init__(self, children: Sequence[Node]) -> None:
        self.children = children
        self.counts = [0] * len(children)
        self.at = 0
        self.strays: set[str] = set()

    def find(self, name: str) -> int:
        """Return which child takes the segment, -1 for none. A group begins, or comes again, with what is first."""
        later = range(self.at, len(self.children))
        for index in later:
            child = self.children[index]
            if name in child.first and (child.maximum < 0 or self.counts[index] < child.maximum):
                return index
        # A group whose first segment was left out; once begun, it was already looked into.
        return next((i for i in later if not self.counts[i] and name in self.children[i].known), -1)


def misfits(structure: Structure, names: Iterable[str]) -> tuple[Misfit, ...]:
    """Return what is wrong with segments of these names, in this order. Z segments must be left out by the caller."""
    return tuple(dict.fromkeys(_Reading(structure).of(names)))


class _Reading:
    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._levels = [_Level(structure.tree)]
        self._seen: dict[str, int] = {}
        self._found: list[Misfit] = []

    def of(self, names: Iterable[str]) -> list[Misfit]:
        last = ""
        for name in names:
            sequence = self._seen.get(name, 0) + 1
            if name not in self._structure.known:
                self._found.append(Misfit("unexpected", name, sequence))
            elif not self._placed(name):
                too_many = name == last or 0 <= most(self._structure.tree, name) < sequence
                kind: Literal["repeated", "order"] = "repeated" if too_many else "order"
                self._found.append(Misfit(kind, name, sequence))
                self._levels[-1].strays.add(name)
            self._seen[name] = sequence
            last = name
        while self._levels:
            self._close()
        return self._found

    def _placed(self, name: str) -> bool:
        """Put a segment where it belongs; nothing is closed for one that belongs nowhere."""
        for depth in range(len(self._levels) - 1, -1, -1):
            index = self._levels[depth].find(name)
            if index >= 0:
                while len(self._levels) > depth + 1:
                    self._close()
                self._put(self._levels[-1], index, name)
                return True
        return False

    def _put(self, level: _Level, index: int, name: str) -> None:
        level.at = index
        level.counts[index] += 1
        child = level.children[index]
        if child.children:
            inner = _Level(child.children)
            self._levels.append(inner)
            self._put(inner, inner.find(name), name)

    def _close(self) -> None:
        level = self._levels.pop()
        for child, count in zip(level.children, level.counts, strict=True):
            if child.required and not count and not child.known & level.strays:
                self._found += (Misfit("missing", n, self._seen.get(n, 0) + 1) for n in needed(child))
        if self._levels:
            self._levels[-1].strays |= level.strays


def needed(node: Node) -> Iterator[str]:
    """Yield the segments that a required node wants at least."""
    if not node.children:
        yield node.name
        return
    wanted = [child for child in node.children if child.required]
    for child in wanted or node.children[:1]:  # of a choice, the first alternative stands for all
        yield from needed(child)


def most(nodes: Sequence[Node], name: str) -> int:
    """Return how often a segment may occur in a structure, -1 where there is no limit."""
    total = 0
    for node in nodes:
        if name not in node.known:
            continue
        inside = most(node.children, name) if node.children else 1
        if node.maximum < 0 or inside < 0:
            return -1
        total += inside * node.maximum
    return total
