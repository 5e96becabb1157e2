"""Nothing is open that was not said to be: a listener outside of loopback, a facility known by its name alone."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest

from gateway.cli.births import who
from gateway.cli.doors import is_local, shut
from gateway.config import parse
from gateway.contract.connection import TlsNames
from gateway.errors import ConfigError
from gateway.hl7.header import read_header
from gateway.verify.sender import check_sender
from tests.simulators.facilities import facility, message_of
from tests.simulators.journey import notice

BOUND = {"code": "RS", "region": "3510", "peers": ["10.0.0.0/8"]}
NAMED = {"code": "RS", "region": "3510"}
OPEN = {"listen": "0.0.0.0:1"}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"facility": [NAMED]}, "facility RS: is known by nothing but MSH-4"),
        ({"facility": [BOUND, {"code": "B", "region": "3510"}]}, "facility B"),
        ({"mllp": OPEN}, "mllp.listen"),
        ({"mllp": OPEN, "facility": [NAMED | {"insecure": "msh-4"}]}, "mllp.listen"),
        ({"mllp": OPEN, "facility": [NAMED | {"certificates": ["rs"]}]}, "mllp.listen"),
        ({"mllp": {"listen": "[::]:2575"}}, "mllp.listen"),
        ({"mllp": {"listen": "gateway.example:2575"}}, "mllp.listen"),
        ({"http": OPEN}, "http.listen"),
        ({"http": OPEN, "facility": [BOUND]}, "http.listen"),
    ],
)
def test_an_open_door_is_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        shut(parse(config, where="test"))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"facility": [NAMED | {"insecure": "msh-4"}]},
        {"facility": [NAMED | {"certificates": ["rs"]}]},
        {"mllp": OPEN, "facility": [BOUND]},
        {"mllp": OPEN | {"insecure": "plain"}, "facility": [NAMED | {"insecure": "msh-4"}]},
        {"http": OPEN | {"insecure": "plain"}},
        {"mllp": {"listen": "[::1]:0"}, "http": {"listen": "localhost:0"}},
    ],
)
def test_what_is_shut_or_said_to_be_open_serves(config: dict[str, Any]) -> None:
    shut(parse(config, where="test"))


@pytest.mark.parametrize(
    ("address", "local"), [("127.0.0.2:1", True), ("[::1]:1", True), ("0.0.0.0:1", False), (":1", False)]
)
def test_loopback_is_told_by_the_address(address: str, *, local: bool) -> None:
    assert is_local(address) is local


@pytest.mark.parametrize(
    ("binding", "plain", "tls"),
    [
        ({"insecure": "msh-4"}, True, False),
        ({}, True, False),
        ({"peers": ("127.0.0.0/8",)}, True, True),
        ({"peers": ("10.0.0.0/8",)}, False, False),
        ({"certificates": ("rs",)}, False, True),
        ({"certificates": ("other",)}, False, False),
    ],
)
def test_on_tls_a_facility_that_is_bound_to_nothing_does_not_send(
    binding: dict[str, Any], *, plain: bool, tls: bool
) -> None:
    header, profile = read_header(message_of(notice())), facility(**binding)
    for names, may in (
        (frozenset[str](), plain),
        (TlsNames({"rs"}), tls),
        (TlsNames(), tls and not binding.get("certificates")),
    ):
        assert (check_sender(header, profile, peer="127.0.0.1", certificate_names=names) == []) is may


def test_who_acts_is_whose_process_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "kepala.dinas")
    assert who() == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert who() == "4000000000"
