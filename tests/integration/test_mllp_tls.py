"""MLLP inside TLS: certificates made here, mutual authentication, names handed to the handler (domain A.10)."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import structlog
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from gateway.config import Limits, Tls
from gateway.errors import ConfigError, DeliveryUnavailableError
from gateway.mllp.client import ClientPool, MllpClient, Target
from gateway.mllp.door import Failures
from gateway.mllp.framing import frame
from gateway.mllp.server import MllpServer, Peer
from gateway.mllp.tls import certificate_names, client_context, server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

MESSAGE = b"MSH|^~\\&|A|B|C|D|20261120||ADT^A01|42|P|2.5\r"
ANSWER = b"MSH|^~\\&|C|D|A|B|20261120||ACK|1|P|2.5\rMSA|AA|42\r"


@dataclass
class Issued:
    """A certificate and its key, in memory and as files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    cert_file: Path
    key_file: Path


class Authority:
    """A certificate authority of a test."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.root = self.issue(name, [], authority=True)

    def issue(self, name: str, dns: Sequence[str], *, authority: bool = False) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = None if authority else self.root
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.DNSName, dns)]
        now = dt.datetime.now(dt.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(issuer.key if issuer else key, SHA256())
        )
        return self.store(name, certificate, key)

    def store(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
        cert_file, key_file = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        cert_file.write_bytes(certificate.public_bytes(Encoding.PEM))
        key_file.write_bytes(pem(key, NoEncryption()))
        return Issued(certificate, key, cert_file, key_file)


def pem(key: ec.EllipticCurvePrivateKey, encryption: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


class Silent:
    """An Observer that remembers reasons only."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    def connection_opened(self) -> None: ...
    def connection_closed(self, reason: str) -> None:
        self.closed.append(reason)

    def frame_received(self, size: int) -> None: ...
    def frame_refused(self, reason: str) -> None: ...
    def answer_sent(self, size: int) -> None: ...


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "rs-authority")


@asynccontextmanager
async def serving(tls: Tls, peers: list[Peer], observer: Silent | None = None) -> AsyncIterator[tuple[str, int]]:
    def handler(_: bytes, peer: Peer) -> asyncio.Future[Sequence[bytes]]:
        peers.append(peer)
        future: asyncio.Future[Sequence[bytes]] = asyncio.get_running_loop().create_future()
        future.set_result((ANSWER,))
        return future

    server = MllpServer(handler, limits=Limits(), observer=observer or Silent())
    try:
        async with asyncio.timeout(60):
            yield await server.start("127.0.0.1", 0, ssl=server_context(tls))
    finally:
        await server.drain(1)


def tls_of(server: Issued, client_ca: Issued | None = None) -> Tls:
    return Tls(
        certificate_file=server.cert_file,
        key_file=server.key_file,
        client_ca_file=client_ca.cert_file if client_ca else None,
    )


async def talk(address: tuple[str, int], context: ssl.SSLContext) -> bytes:
    client = await MllpClient(*address, ssl=context).connect()
    try:
        return await client.exchange(MESSAGE, control_id="42", timeout=60)
    finally:
        await client.aclose()


async def test_a_message_over_tls_is_answered(authority: Authority) -> None:
    peers: list[Peer] = []
    async with serving(tls_of(authority.issue("gateway", [])), peers) as address:
        assert await talk(address, client_context(authority.root.cert_file)) == ANSWER
    assert peers[0].certificate_names == frozenset()


async def test_the_names_of_a_verified_client_certificate_reach_the_handler(authority: Authority) -> None:
    peers: list[Peer] = []
    sender = authority.issue("rs-cempaka", ["mllp.rs-cempaka.example", "simrs.rs-cempaka.example"])
    async with serving(tls_of(authority.issue("gateway", []), authority.root), peers) as address:
        context = client_context(authority.root.cert_file, sender.cert_file, sender.key_file)
        assert await talk(address, context) == ANSWER
    assert peers[0].certificate_names == {"rs-cempaka", "mllp.rs-cempaka.example", "simrs.rs-cempaka.example"}


def test_tls_works_on_uvloop_too(authority: Authority) -> None:
    peers: list[Peer] = []
    sender = authority.issue("rs-cempaka", [])

    async def work() -> None:
        async with serving(tls_of(authority.issue("gateway", []), authority.root), peers) as address:
            context = client_context(authority.root.cert_file, sender.cert_file, sender.key_file)
            assert await talk(address, context) == ANSWER

    uvloop.run(work())
    assert peers[0].certificate_names == {"rs-cempaka"}


async def test_a_sender_without_a_certificate_is_turned_away(authority: Authority) -> None:
    peers: list[Peer] = []
    async with serving(tls_of(authority.issue("gateway", []), authority.root), peers) as address:
        with pytest.raises(DeliveryUnavailableError):
            await talk(address, client_context(authority.root.cert_file))
    assert peers == []


async def test_a_certificate_of_another_authority_is_turned_away(authority: Authority, tmp_path: Path) -> None:
    peers: list[Peer] = []
    stranger = Authority(tmp_path, "other-authority").issue("stranger", [])
    async with serving(tls_of(authority.issue("gateway", []), authority.root), peers) as address:
        with pytest.raises(DeliveryUnavailableError):
            await talk(address, client_context(authority.root.cert_file, stranger.cert_file, stranger.key_file))
    assert peers == []


async def test_the_client_does_not_talk_to_a_listener_it_cannot_verify(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other-authority")
    async with serving(tls_of(authority.issue("gateway", [])), []) as address:
        with pytest.raises(DeliveryUnavailableError, match="cannot be reached") as caught:
            await talk(address, client_context(other.root.cert_file))
        assert isinstance(caught.value.__cause__, ssl.SSLError)
        with pytest.raises(DeliveryUnavailableError, match="cannot be reached"):
            await talk(address, client_context(None))


async def test_plain_bytes_on_the_tls_port_hurt_nobody(authority: Authority) -> None:
    async with serving(tls_of(authority.issue("gateway", [])), []) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(frame(MESSAGE))
        assert MESSAGE not in await reader.read()
        writer.close()
        await writer.wait_closed()
        assert await talk(address, client_context(authority.root.cert_file)) == ANSWER


async def test_protocols_before_1_2_are_refused(authority: Authority) -> None:
    assert server_context(tls_of(authority.issue("gateway", []))).minimum_version is ssl.TLSVersion.TLSv1_2
    old = client_context(authority.root.cert_file)
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(tls_of(authority.issue("gateway", [])), []) as address:
        with pytest.raises(DeliveryUnavailableError, match="cannot be reached"):
            await talk(address, old)


async def test_the_end_of_a_tls_client_is_quiet(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    observer = Silent()
    async with serving(tls_of(authority.issue("gateway", [])), [], observer) as address:
        await talk(address, client_context(authority.root.cert_file))
        while not observer.closed:  # noqa: ASYNC110 - the server's own state
            await asyncio.sleep(0.001)
    assert observer.closed == ["eof"]
    assert caplog.records == [], "asyncio warns when a TLS protocol asks to stay half open"


async def test_a_tls_client_that_does_not_read_does_not_stop_others(authority: Authority) -> None:
    context = client_context(authority.root.cert_file)
    async with serving(tls_of(authority.issue("gateway", [])), []) as address:
        _, writer = await asyncio.open_connection(*address, ssl=context)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(frame(MESSAGE) * 50_000)
        assert await talk(address, context) == ANSWER
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_the_pool_calls_tls_listeners(authority: Authority) -> None:
    pool = ClientPool(ssl=client_context(authority.root.cert_file))
    async with serving(tls_of(authority.issue("gateway", [])), []) as address:
        for _ in range(2):
            assert await pool.exchange(Target(*address, tls=True), MESSAGE, control_id="42", timeout=60) == ANSWER
        await pool.aclose()


def test_no_connection_has_no_names() -> None:
    assert certificate_names(None) == frozenset()


# Settings that are wrong.


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(ConfigError, match=r"tls\.certificate_file: is not set"):
        server_context(Tls())


def test_a_file_that_cannot_be_read_is_named(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tls\.key_file = '.*nowhere\.key': cannot be read \(No such file"):
        server_context(Tls(certificate_file=authority.root.cert_file, key_file=tmp_path / "nowhere.key"))
    with pytest.raises(ConfigError, match=r"tls\.client_ca_file = .*cannot be read"):
        server_context(
            Tls(
                certificate_file=authority.root.cert_file,
                key_file=authority.root.key_file,
                client_ca_file=tmp_path / "nowhere.pem",
            )
        )
    with pytest.raises(ConfigError, match=r"CA file = .*cannot be read"):
        client_context(tmp_path / "nowhere.pem")


def test_files_that_are_no_pem_are_named(authority: Authority, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("not a certificate")
    with pytest.raises(ConfigError, match="not a PEM certificate"):
        server_context(Tls(certificate_file=junk, key_file=authority.root.key_file))
    with pytest.raises(ConfigError, match="holds no PEM certificate"):
        client_context(junk)


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    other = authority.issue("other", [])
    with pytest.raises(ConfigError, match="the key that belongs to it"):
        server_context(Tls(certificate_file=authority.root.cert_file, key_file=other.key_file))


def test_an_encrypted_key_is_refused_instead_of_asking_on_the_terminal(authority: Authority, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    locked.write_bytes(pem(authority.root.key, BestAvailableEncryption(b"secret")))
    with pytest.raises(ConfigError, match="encrypted"):
        server_context(Tls(certificate_file=authority.root.cert_file, key_file=locked))


def test_our_certificate_needs_its_key(authority: Authority) -> None:
    with pytest.raises(ConfigError, match="client key_file: is not set"):
        client_context(authority.root.cert_file, authority.root.cert_file)


@pytest.mark.parametrize(
    ("knock", "reason"),
    [
        ("plain", "HTTP_REQUEST"),
        ("nobody", "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ("stranger", "VERIFY_FAILED"),
        ("gone", "hung up"),
    ],
)
async def test_a_failed_handshake_leaves_one_line_with_peer_and_reason(
    authority: Authority, tmp_path: Path, knock: str, reason: str
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other-authority").issue("stranger", [])
    async with serving(tls_of(authority.issue("gateway", []), authority.root), []) as address:
        with structlog.testing.capture_logs() as lines:
            if knock in ("plain", "gone"):
                _, writer = await asyncio.open_connection(*address)
                writer.write(b"GET / HTTP/1.1\r\n\r\n" if knock == "plain" else b"")
                await writer.drain()
                writer.close()
            else:
                shown = (other.cert_file, other.key_file) if knock == "stranger" else ()
                with pytest.raises(DeliveryUnavailableError):
                    await talk(address, client_context(authority.root.cert_file, *shown))
            async with asyncio.timeout(5):
                while not any(line["event"] == "mllp.tls_failed" for line in lines):  # noqa: ASYNC110 - the log tells nobody
                    await asyncio.sleep(0.01)
        assert await talk(address, client_context(*_sender(authority))) == ANSWER
    (line,) = [line for line in lines if line["event"] == "mllp.tls_failed"]
    assert (line["peer"], reason in line["reason"].upper() or reason in line["reason"]) == ("127.0.0.1", True), line


def _sender(authority: Authority) -> tuple[Path, Path, Path]:
    sender = authority.issue("rs-cempaka", [])
    return authority.root.cert_file, sender.cert_file, sender.key_file


def test_handshakes_without_end_do_not_fill_the_disk() -> None:
    now = [0.0]
    failures = Failures(lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        for _ in range(1000):
            failures.tell("127.0.0.1", ConnectionResetError())
        now[0] = 1.0
        failures.tell("127.0.0.1", ssl.SSLError())
    assert len(lines) == 11
    assert (lines[-1]["lines"], lines[-1]["reason"]) == (990, "SSLError")
