"""A dialogue as a list of steps: what stands in the ```dialogue fences of its page, read line by line (README.md).

    > MSH|...        a line of an HL7 message; lines in a row are one message (or one batch)
    < AE NIK_LENGTH  its answer: MSA-1, and exactly the codes of ERR-5; `< nothing` where none may come
    < ERR||NK1^*     a line that this answer has; * is anything, fields left off at the end do not matter
    = 00450121 READY NO_FATHER
                     where the birth is, once all that is due was done, and exactly the findings open on it;
                     indented lines behind it name values of its record, or of its file (`revision`, `twin of`, ...)
    ! 00450121 issues 3510-LU-...
                     what the registry does, says, or must have been sent
    << MDM^T02       what the hospital's listener gets; indented lines name fields of it
    clock, form, officer, office, hospital, sender
                     what else happens, in a word at the beginning of the line

An indented line belongs to the step above it. What is outside of the fences is for people. A ```toml fence holds
sections of the configuration, and `clock`, when the story begins.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_MARKS = (">", "<<", "<", "=", "!")
_WORDS = ("clock", "form", "officer", "office", "hospital", "sender")
_FENCE = re.compile(r"```(\w*)\s*$")


@dataclass(slots=True)
class Step:
    """One step: its mark or first word, the rest of that line, the lines that belong to it, and where it stands."""

    kind: str
    text: str
    line: int
    more: list[str] = field(default_factory=list)

    def facts(self) -> list[tuple[str, str]]:
        """Return the indented `name: value` lines."""
        pairs = [line.partition(":") for line in self.more]
        assert all(colon for _, colon, _ in pairs), f"line {self.line}: write `name: value` below it"
        return [(name.strip(), value.strip()) for name, _, value in pairs]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One page: its title, configuration, and steps."""

    name: str
    title: str
    settings: dict[str, Any]
    steps: list[Step]


def read(path: Path) -> Dialogue:
    """Read a page. Raises AssertionError naming the line that is none of the grammar."""
    title, fence, settings = "", "", ""
    steps: list[Step] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if found := _FENCE.match(line):
            fence = "" if fence else found[1] or "text"
        elif fence == "toml":
            settings += f"{line}\n"
        elif fence == "dialogue":
            _take(steps, line, f"{path.name}:{number}", number)
        elif not title and line.startswith("# "):
            title = line[2:]
    assert title, f"{path.name}: the first line is `# ` and the title"
    assert steps, f"{path.name}: there is no ```dialogue fence"
    return Dialogue(path.stem, title, tomllib.loads(settings), steps)


def _take(steps: list[Step], line: str, where: str, number: int) -> None:
    if not line.strip():
        return
    if line[0].isspace():
        assert steps, f"{where}: nothing is above this line that it could belong to"
        steps[-1].more.append(line.strip())
        return
    kind, text = _parted(line, where)
    joins = steps and steps[-1].kind == kind and not steps[-1].more
    if kind == ">" and joins and not _begins(text):
        steps[-1].text += f"\r{text}"
    else:
        steps.append(Step(kind, text, number))


def _begins(text: str) -> bool:
    """Tell whether a line begins another message, or names a sample."""
    return text.startswith("sample ")


def _parted(line: str, where: str) -> tuple[str, str]:
    mark, _, rest = line.partition(" ")
    assert mark in (*_MARKS, *_WORDS), f"{where}: a line begins with one of {', '.join((*_MARKS, *_WORDS))}"
    return mark, rest.strip() if mark != ">" else rest
