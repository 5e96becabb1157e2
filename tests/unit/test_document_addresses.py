"""A certificate is fetched from the registry's own origin or an allowed one; everything else is no address."""

from __future__ import annotations

import pytest

from adapters.dukcapil.addresses import DocumentAddresses
from gateway.errors import ConfigError, DocumentAddressError

BASE = "https://registry.example/dukcapil"
ADDRESSES = DocumentAddresses(BASE, ("https://files.example:8443", "http://127.0.0.1:8090"))

WRONG = (
    "https://evil.example/a.pdf",
    "https://registry.example@evil.example/a.pdf",
    "https://registry@registry.example/a.pdf",
    "https://:@registry.example/a.pdf",
    "//evil.example/a.pdf",
    "///evil.example/a.pdf",
    "https:///evil.example/a.pdf",
    "https:/evil.example/a.pdf",
    "https:evil.example",
    "\\\\evil.example\\a.pdf",
    "https://evil.example\\@registry.example/a.pdf",
    "https://registry.example\\.evil.example/a.pdf",
    "https://registry.example.evil.example/a.pdf",
    "https://registry.example./a.pdf",
    "https://registry.example:8443/a.pdf",
    "https://registry.example:/a.pdf",
    "https://registry.example:0/a.pdf",
    "https://registry.example:443x/a.pdf",
    "https://registry.example:99999/a.pdf",
    "https://registry.example:٤٤٣/a.pdf",
    "http://registry.example/a.pdf",
    "http://files.example:8443/a.pdf",
    "https://files.example/a.pdf",
    "https://EVIL.example/a.pdf",
    "https://r\u0435gistry.example/a.pdf",
    "https://xn--rgistry-2fg.example/a.pdf",
    "https://registry\u3002example/a.pdf",
    "https://registry.example\u2044.evil.example/a.pdf",
    "https://registry%2eexample/a.pdf",
    "https://registry.example%00.evil.example/a.pdf",
    "https://[::1]/a.pdf",
    "https://[::ffff:127.0.0.1]/a.pdf",
    "https://[fe80::1%25eth0]/a.pdf",
    "https://[::1",
    "https://127.0.0.1/a.pdf",
    "http://127.1:8090/a.pdf",
    "http://2130706433:8090/a.pdf",
    "http://0x7f000001:8090/a.pdf",
    "http://localhost:8090/a.pdf",
    "http://169.254.169.254/latest/meta-data/",
    "file:///etc/passwd",
    "data:application/pdf;base64,JVBERi0=",
    "ftp://registry.example/a.pdf",
    "gopher://registry.example/a",
    "javascript:alert(1)",
    "https://registry.example/a.pdf\r\nHost: evil.example",
    "https://registry.example/\x00",
    "https://registry.example/a b.pdf",
    " https://evil.example/a.pdf",
    "\thttps://evil.example/a.pdf",
    "https://evil.exa\tmple/a.pdf",
    "https://registry.example/" + "a" * 3000,
    "https://",
    "https://?@registry.example/",
    "https://#@registry.example/",
)


@pytest.mark.parametrize("told", WRONG, ids=ascii)
def test_a_wrong_address_is_refused_however_it_is_written(told: str) -> None:
    with pytest.raises(DocumentAddressError) as refused:
        ADDRESSES.checked(ADDRESSES.whole(told))
    assert "evil" not in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("told", "fetched"),
    [
        ("/dokumen/3510-LU-1.pdf", "https://registry.example/dokumen/3510-LU-1.pdf"),
        ("dokumen/1.pdf", "https://registry.example/dukcapil/dokumen/1.pdf"),
        ("?id=1&x=%2F", "https://registry.example/dukcapil/?id=1&x=%2F"),
        ("https://registry.example/a%2Fb.pdf#page=1", "https://registry.example/a%2Fb.pdf"),
        ("https://registry.example:443/a.pdf", "https://registry.example/a.pdf"),
        ("HTTPS://Registry.Example/A.pdf", "https://Registry.Example/A.pdf"),
        ("//registry.example/a.pdf", "https://registry.example/a.pdf"),
        ("https://files.example:8443/a.pdf?evil=https://evil.example", None),
        ("http://127.0.0.1:8090/a.pdf", None),
        ("/a@b/c.pdf", "https://registry.example/a@b/c.pdf"),
    ],
)
def test_a_right_address_is_fetched_as_the_registry_wrote_it(told: str, fetched: str | None) -> None:
    assert str(ADDRESSES.checked(ADDRESSES.whole(told))) == (fetched or told)


@pytest.mark.parametrize(
    "origin",
    ["http://files.example", "files.example", "https://files.example/pdf", "https://u@files.example", "https://", "*"],
)
def test_an_allowed_origin_that_is_none_is_named(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"registry\.document_origins"):
        DocumentAddresses(BASE, (origin,))
