"""The origin of an address: where health is kept."""

from __future__ import annotations

import pytest

from gateway.contract.origin import origin_of


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Registry.Example/a?b#c", "https://registry.example:443"),
        ("http://registry.example:8080", "http://registry.example:8080"),
        ("https://registry.example:443/x", "https://registry.example:443"),
        ("https://[::1]:9/x", "https://::1:9"),
        ("/dokumen/x.pdf", ""),
        ("https://registry.example:many/x", ""),
        ("", ""),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(url) == origin
