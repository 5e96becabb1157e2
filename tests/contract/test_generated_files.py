"""What is generated is current, and says what it should."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from gateway.cli import generate
from gateway.cli.log_calls import log_calls, read
from gateway.contract.finding import catalogue
from gateway.contract.lifecycle import State
from gateway.errors import ConfigError
from tests.simulators.records import birth_record

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: dict[str, Any] = json.loads((generate.ROOT / "schemas/birth-record.v1.json").read_text("utf-8"))


def test_every_generated_file_in_the_checkout_is_current() -> None:
    assert generate.stale() == []


def test_a_file_that_was_edited_or_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ("docs/lifecycle.md", "docs/findings.md", "docs/events.md")
    monkeypatch.setattr(generate, "FILES", {name: generate.FILES[name] for name in few})
    for name, make in generate.FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(make(), encoding="utf-8")
    assert generate.stale(tmp_path) == []
    with (tmp_path / "docs/findings.md").open("a", encoding="utf-8") as file:
        file.write("by hand\n")
    (tmp_path / "docs/events.md").unlink()
    assert generate.stale(tmp_path) == ["docs/findings.md", "docs/events.md"]


def test_what_is_made_does_not_depend_on_the_order_of_sets() -> None:
    code = "from gateway.cli.generate import FILES; import sys; sys.stdout.write(''.join(f() for f in FILES.values()))"
    made = {
        subprocess.run(
            (sys.executable, "-c", code),
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(generate.ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(made) == 1


def test_the_check_says_which_file_is_old_and_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "stale", lambda: ["docs/events.md"])
    with pytest.raises(SystemExit) as end:
        generate.main(["--check"])
    assert end.value.code == 1
    assert capsys.readouterr().err == "out of date: docs/events.md; run make schemas\n"


def test_an_event_without_a_meaning_and_a_meaning_without_an_event_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "log-events.toml"
    monkeypatch.setattr(generate, "MEANINGS", str(file))  # an absolute path wins over the root
    known = sorted({call.event for call in log_calls(generate.ROOT)})
    file.write_text("".join(f'"{event}" = "It happened."\n' for event in known[1:]))
    with pytest.raises(ConfigError, match=f"no meaning for {known[0]}"):
        generate.events()
    file.write_text("".join(f'"{event}" = "It happened."\n' for event in [*known, "nothing.logs_this"]))
    with pytest.raises(ConfigError, match=r"nothing\.logs_this: logged nowhere"):
        generate.events()


def test_a_whole_record_fits_its_published_schema_and_an_unknown_key_does_not() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    record = birth_record().model_dump(mode="json")
    Draft202012Validator(SCHEMA).validate(record)
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate({**record, "zodiac": "PISCES"})


def test_the_documents_name_every_state_and_every_finding() -> None:
    lifecycle = (generate.ROOT / "docs/lifecycle.md").read_text("utf-8")
    assert all(f"| `{state.value}` |" in lifecycle for state in State)
    findings = (generate.ROOT / "docs/findings.md").read_text("utf-8")
    assert all(findings.count(f"| `{code}` | ") >= 1 for code in catalogue())


class TestReadingLogCalls:
    def test_event_level_and_fields_are_found_also_through_a_forwarding_method(self) -> None:
        source = """
class Server:
    def tell(self, event, **values):
        _log.warning(event, peer=self.peer, **values)
    def work(self):
        self.tell("a.b", size=1)
        try:
            structlog.get_logger().info("c.d", state="x")
        except OSError as error:
            _log.exception("e.f", step="x")
            _log.error("g.h", **describe(error))
"""
        found = {(c.event, c.level, tuple(sorted(c.fields))) for c in read(source, module="m")}
        assert found == {
            ("a.b", "warning", ("peer", "size")),
            ("c.d", "info", ("state",)),
            ("e.f", "error", ("error", "error_text", "step", "where")),
            ("g.h", "error", ("error", "error_text", "where")),
        }

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("_log.info(f'a.{b}')", "name is computed"),
            ("_log.info('a.b', **anything())", "computed mapping"),
            ("def tell(event):\n    _log.info(event)\ndef work(x):\n    tell(x)", "name is computed"),
        ],
    )
    def test_a_call_that_cannot_be_documented_is_refused(self, source: str, reason: str) -> None:
        with pytest.raises(ConfigError, match=reason):
            list(read(source, module="gateway.somewhere"))
