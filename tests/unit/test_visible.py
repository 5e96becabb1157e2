"""What a stranger wrote, seen: no character that commands a terminal is left in it, and JSON stays the same JSON."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest
import structlog
from rich.progress import Progress
from rich.text import Text

from gateway.cli import output
from gateway.contract.visible import commands, escaped, printable
from tests.simulators.logs import configured

_EVERY = "".join(chr(code) for code in (*range(0x100), 0x61C, *range(0x2000, 0x2070), 0xFEFF, 0xD800, 0xE000))
_ORDERED = "".join(c for c in _EVERY if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co"))


def _commanding(text: str) -> list[str]:
    return [hex(ord(c)) for c in text if not c.isprintable()]


def test_nothing_that_is_not_printable_is_left() -> None:
    assert not _commanding(printable(_EVERY))
    assert printable("\x1b[2J\x9b\u202e\x7f\r\n") == "␛[2J<U+009B><U+202E>␡␍␊"
    assert printable("RSU Cempaka, ñ 婚") == "RSU Cempaka, ñ 婚"


def test_a_json_line_says_the_same_without_them() -> None:
    told = {"mrn": _EVERY, "n": [1, None, True]}
    line = escaped(json.dumps(told, ensure_ascii=False))
    assert json.loads(line) == told
    assert not _commanding(line)


@pytest.mark.parametrize("character", "\x00\x09\x1b\x7f\x85\x9b\u061c\u200e\u200f\u2028\u202a\u202e\u2066\u2069")
def test_controls_and_marks_of_direction_command(character: str) -> None:
    assert commands(f"00{character}45")


@pytest.mark.parametrize("text", ["", "00450121", "RM 45/2025", "Ñ", "a\N{NO-BREAK SPACE}b", "a\N{SOFT HYPHEN}b", "婚"])
def test_other_text_does_not(text: str) -> None:
    assert not commands(text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Lend a terminal whose bytes can be looked at, in place of the command line's console."""
    seen = io.StringIO()
    console = output._Terminal(stderr=False, width=120)
    console.file = seen
    monkeypatch.setattr(output, "console", console)
    return seen


def test_no_way_of_printing_brings_a_control_character_to_a_terminal(terminal: io.StringIO) -> None:
    output.table(("a", _ORDERED), [(1, _ORDERED), (_ORDERED, None)])
    output.details([(_ORDERED, _ORDERED)])
    output.console.print(f"x{_ORDERED}")
    output.console.print(Text(f"x{_ORDERED}"), Text.assemble(("x", "dim"), _ORDERED))
    assert not _commanding(terminal.getvalue().replace("\n", ""))


def test_markup_and_emoji_of_a_stranger_stay_text(terminal: io.StringIO) -> None:
    output.console.print("[/] [bold]x[/] [link=http://evil]y[/link] :warning:")
    output.details([("[/]", "[/red]")])
    output.table(("[/]",), [("[bold]",)])
    shown = terminal.getvalue()
    assert "[/] [bold]x[/] [link=http://evil]y[/link] :warning:" in shown
    assert "[/red]" in shown
    assert "\x1b" not in shown


def test_rich_itself_may_still_move_its_cursor() -> None:
    seen = io.StringIO()
    console = output._Terminal(stderr=True, width=80)
    console._force_terminal = True
    console.file = seen
    with Progress(console=console, transient=True) as progress:
        progress.add_task("\x1b]0;sending", total=1)
    assert "\x1b[" in seen.getvalue()
    assert "\x1b]0;" not in seen.getvalue()


def test_a_log_line_commands_no_terminal() -> None:
    stream = io.StringIO()
    with configured(level="info", stream=stream):
        structlog.get_logger().info("message.accepted", control_id=_ORDERED, facility="\x9b2J", reason="a\u202eb")
    line = stream.getvalue()
    assert line.endswith("}\n")
    assert not _commanding(line[:-1])
    assert json.loads(line)["control_id"] == _ORDERED
