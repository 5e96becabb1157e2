"""Logs know ids and codes, never people: masking by field, by type and by shape, exceptions, other libraries."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.log_calls import bound_fields, log_calls
from gateway.contract.masked import MASK, Nik, Personal
from gateway.errors import ConfigError, RegistryUnavailableError
from gateway.observe.logging import FIELDS, describe, looks_like_nik, mask
from tests.simulators.logs import configured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Logged = Callable[[], list[dict[str, Any]]]

ROOT = Path(__file__).parents[2]
NIK = "3510165203959001"
NAME = "SITI AMINAH"


@pytest.fixture
def logged() -> Iterator[Logged]:
    """Configure logging onto a buffer and lend what reads its lines."""
    stream = io.StringIO()
    with configured(level="debug", stream=stream):
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


# ------------------------------------------------------------------------------------------------------ masking


def test_a_line_is_one_json_object_that_begins_with_time_level_and_event(logged: Logged) -> None:
    structlog.get_logger().info("birth.seen", birth_id="b-1", state="READY")
    (line,) = logged()
    assert list(line) == ["timestamp", "level", "event", "birth_id", "state"]
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_a_field_outside_of_the_vocabulary_is_named_and_not_printed(logged: Logged) -> None:
    structlog.get_logger().info("birth.seen", child_name=NAME, state="READY")
    (line,) = logged()
    assert line["child_name"] == MASK
    assert line["state"] == "READY"


@pytest.mark.parametrize("value", [Personal(NAME), Nik(NIK)])
def test_a_personal_value_is_masked_by_its_type_wherever_it_lies(logged: Logged, value: Personal) -> None:
    structlog.get_logger().info("birth.seen", reason=value, findings=[value, {"code": value}], note=f"for {value}")
    (line,) = logged()
    assert line["reason"] == MASK
    assert line["findings"] == [MASK, {"code": MASK}]
    assert line["note"] == f"for {MASK}"


def test_bound_ids_are_on_every_later_line_and_are_masked_too(logged: Logged) -> None:
    with structlog.contextvars.bound_contextvars(birth_id="b-1", message_id=7, control_id=NIK):
        structlog.get_logger().info("task.worked", outcome="done")
    (line,) = logged()
    assert (line["birth_id"], line["message_id"], line["control_id"]) == ("b-1", 7, MASK)


def test_none_is_not_printed_and_bytes_are_only_counted(logged: Logged) -> None:
    structlog.get_logger().info("birth.seen", facility=None, note=b"MSH|^~\\&|")
    (line,) = logged()
    assert "facility" not in line
    assert line["note"] == "<9 bytes>"


@pytest.mark.parametrize(
    "digits",
    ["3510165203959001", "3510160407929001", "9271014101000001", "1101013112990001", "3510161405189001"],
)
def test_sixteen_digits_that_could_be_a_persons_are_masked_in_any_text(digits: str) -> None:
    assert looks_like_nik(digits)
    assert mask(f"no such birth: {digits}, sorry") == f"no such birth: {MASK}, sorry"
    assert mask({"x": (digits,)}) == {"x": [MASK]}


@pytest.mark.parametrize(
    "text",
    [
        "35101652039590011",  # seventeen digits
        "351016520395900",  # fifteen
        "0010165203959001",  # no such province
        "3510163203959001",  # day 32
        "3510167203959001",  # day 72
        "3510165213959001",  # month 13
        "RSC20250311000101",
        "3510-LU-24112026-0001",
    ],
)
def test_other_numbers_stay_readable(text: str) -> None:
    assert mask(text) == text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.just(Nik(NIK)),
                    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))  # fmt: skip
def test_whatever_is_logged_is_json_and_holds_no_nik(value: object) -> None:
    assert NIK not in json.dumps(mask(value))


def test_an_object_is_logged_by_what_it_prints_and_that_is_masked() -> None:
    class Thing:
        def __str__(self) -> str:
            return f"thing of {NIK}"

    assert mask(Thing()) == f"thing of {MASK}"


# --------------------------------------------------------------------------------------------------- exceptions


def fail(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_a_foreign_exception_is_its_kind_and_place_never_its_text() -> None:
    told = describe(fail(ValueError(f"invalid name {NAME}")))
    assert told["error"] == "ValueError"
    assert told["where"].startswith("test_logging.py:")
    assert set(told) == {"error", "where"}


def test_one_of_ours_also_says_its_text_since_that_holds_no_person() -> None:
    told = describe(fail(RegistryUnavailableError("the registry is busy (503)")))
    assert told["error_text"] == "the registry is busy (503)"


def test_even_the_text_of_ours_is_masked_by_shape(logged: Logged) -> None:
    structlog.get_logger().warning("x.y", **describe(fail(ConfigError(f"no such key {NIK}"))))
    assert logged()[0]["error_text"] == f"no such key {MASK}"


@pytest.mark.parametrize("how", ["exception", "exc_info"])
def test_a_logged_exception_brings_no_traceback_and_no_text(logged: Logged, how: str) -> None:
    log = structlog.get_logger()
    error = fail(KeyError(NAME))
    if how == "exception":
        try:
            raise error
        except KeyError:
            log.exception("http.failed")
    else:
        log.error("http.failed", exc_info=error)
    (line,) = logged()
    assert line["error"] == "KeyError"
    assert line["level"] == "error"
    assert NAME not in json.dumps(line)
    assert "exc_info" not in line
    assert "Traceback" not in json.dumps(line)


# ---------------------------------------------------------------------------------------------- other libraries


def test_another_librarys_line_is_its_template_without_arguments(logged: Logged) -> None:
    logging.getLogger("aiohttp.server").warning("Error handling request from %s: %s", NAME, NIK)
    (line,) = logged()
    assert (line["event"], line["logger"], line["level"]) == ("library.log", "aiohttp.server", "warning")
    assert line["text"] == "Error handling request from %s: %s"
    assert NAME not in json.dumps(line)


def test_another_librarys_exception_is_its_kind_and_place_also_where_it_is_ours(logged: Logged) -> None:
    error = fail(ConfigError("text"))
    logging.getLogger("asyncio").critical("Task exception was never retrieved", exc_info=error)
    (line,) = logged()
    assert (line["level"], line["error"]) == ("error", "ConfigError")
    assert "error_text" not in line


def test_other_libraries_are_heard_from_warning_on(logged: Logged) -> None:
    logging.getLogger("aiohttp.access").info("GET /v1/births?mrn=00450121")
    assert logged() == []


def test_a_level_leaves_out_what_is_below_it() -> None:
    stream = io.StringIO()
    with configured(level="warning", stream=stream):
        structlog.get_logger().info("birth.seen")
        structlog.get_logger().warning("birth.overdue")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["birth.overdue"]


def test_a_log_file_has_each_line_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "procot.log"
    with configured(level="info", file=path):
        structlog.get_logger().info("birth.seen")
        assert json.loads(path.read_text())["event"] == "birth.seen"


class Full(io.StringIO):
    """A log whose disk is full until there is `room`."""

    room = False

    def write(self, text: str) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "no space left on device")
        return super().write(text)


def test_a_full_disk_under_the_log_fails_no_work_and_is_told_once_there_is_room() -> None:
    stream = Full()
    with configured(level="info", stream=stream):
        structlog.get_logger().info("birth.seen")
        logging.getLogger("library").error("lost too")
        assert stream.getvalue() == ""
        stream.room = True
        structlog.get_logger().info("birth.seen", birth_id="b-2")
        structlog.get_logger().info("birth.seen", birth_id="b-3")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["event"], line.get("lines")) for line in lines] == [
        ("birth.seen", None),
        ("log.not_written", 2),
        ("birth.seen", None),
    ]


class Counting(io.StringIO):
    """A log that counts its writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.getvalue().splitlines()]


def test_what_is_logged_in_one_turn_of_the_loop_is_written_together_and_in_order() -> None:
    async def work() -> None:
        for n in range(3):
            structlog.get_logger().info(f"birth.seen{n}")
        assert stream.events() == []
        await asyncio.sleep(0)
        assert stream.events() == ["birth.seen0", "birth.seen1", "birth.seen2"]
        assert stream.writes == 1
        structlog.get_logger().info("birth.seen3")

    stream = Counting()
    with configured(level="info", stream=stream):
        asyncio.run(work())
    assert stream.events()[3:] == ["birth.seen3"], "the end of the loop loses nothing"


def test_a_warning_is_written_at_once_behind_what_came_before_it() -> None:
    async def work() -> None:
        structlog.get_logger().info("birth.seen")
        structlog.get_logger().warning("birth.overdue")
        assert stream.events() == ["birth.seen", "birth.overdue"]

    stream = Counting()
    with configured(level="info", stream=stream):
        asyncio.run(work())
    assert stream.writes == 1


def test_a_turn_that_logs_without_end_does_not_fill_the_memory() -> None:
    async def work() -> None:
        for _ in range(1000):
            structlog.get_logger().info("birth.seen")
        assert len(stream.events()) > 500

    stream = Counting()
    with configured(level="info", stream=stream):
        asyncio.run(work())
    assert len(stream.events()) == 1000


def test_of_a_turn_that_could_not_be_written_each_line_is_counted() -> None:
    async def work() -> None:
        for _ in range(3):
            structlog.get_logger().info("birth.seen")
        await asyncio.sleep(0)
        stream.room = True
        structlog.get_logger().warning("birth.overdue")

    stream = Full()
    with configured(level="info", stream=stream):
        asyncio.run(work())
    last = json.loads(stream.getvalue().splitlines()[-1])
    assert (last["event"], last["lines"]) == ("log.not_written", 3)


# --------------------------------------------------------------------------------------------------- vocabulary


def test_every_field_that_is_logged_anywhere_is_in_the_vocabulary() -> None:
    missing = {
        f"{call.module}:{call.line} {call.event}: {field}" for call in log_calls(ROOT) for field in call.fields - FIELDS
    }
    assert missing == set()
    assert bound_fields(ROOT) <= FIELDS


def test_no_field_of_the_vocabulary_invites_a_persons_data() -> None:
    assert not FIELDS & {
        "name",
        "nik",
        "mother",
        "father",
        "child",
        "raw",
        "message",
        "body",
        "payload",
        "mrn",
        "token",
    }
