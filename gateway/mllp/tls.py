"""TLS contexts for MLLP (domain A.10: TLS 1.2 or newer, mutual certificates). Owns which certificates are loaded.

Never decides which facility a certificate may speak for: it only says which names the certificate carries.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NoReturn

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.config import Tls


def server_context(tls: Tls) -> ssl.SSLContext:
    """Build the listener's context; with `client_ca_file` a sender without a certificate from it is turned away.

    Raises ConfigError naming the setting and the reason.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    _load_pair(context, tls.certificate_file, tls.key_file, section="tls.")
    if tls.client_ca_file is not None:
        _load_authority(context, tls.client_ca_file, "tls.client_ca_file")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: Path | None, cert: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Build the context for calling a hospital's listener; its certificate and host name are always checked.

    `ca` None means the system's authorities; `cert` and `key` are ours, where the listener wants to see one. Raises
    ConfigError naming the file and the reason.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_authority(context, ca, "CA file")
    if cert is not None or key is not None:
        _load_pair(context, cert, key, section="client ")
    return context


def certificate_names(ssl_object: ssl.SSLObject | ssl.SSLSocket | None) -> frozenset[str]:
    """Return the common names and DNS names of the verified peer certificate; empty where there is none.

    An unverified certificate has no names: OpenSSL does not hand out what it has not checked.
    """
    certificate = ssl_object.getpeercert() if ssl_object is not None else None
    if not certificate:
        return frozenset()
    # typeshed gives the values of this dictionary as a union; both entries are sequences of pairs (RFC 5280 4.1.2.6).
    subject: object = certificate.get("subject", ())
    alternative: object = certificate.get("subjectAltName", ())
    pairs = [pair for part in _items(subject) for pair in _items(part)]
    names = {str(value) for kind, value in pairs if kind == "commonName"}
    names |= {str(value) for kind, value in _items(alternative) if kind == "DNS"}
    return frozenset(names)


def _items(value: object) -> tuple[tuple[object, object], ...]:
    return value if isinstance(value, tuple) else ()


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION


def _load_pair(context: ssl.SSLContext, cert: Path | None, key: Path | None, *, section: str) -> None:
    certificate_file = _readable(cert, f"{section}certificate_file")
    key_file = _readable(key, f"{section}key_file")
    try:
        context.load_cert_chain(certificate_file, key_file, password=_no_password)
    except ssl.SSLError as error:
        raise ConfigError(
            f"{section}certificate_file = {str(cert)!r}, {section}key_file = {str(key)!r}: not a PEM certificate and "
            f"the key that belongs to it ({error.reason or 'no PEM block'})"
        ) from error


def _load_authority(context: ssl.SSLContext, path: Path, name: str) -> None:
    try:
        context.load_verify_locations(cafile=_readable(path, name))
    except ssl.SSLError as error:
        raise ConfigError(f"{name} = {str(path)!r}: holds no PEM certificate") from error


def _readable(path: Path | None, name: str) -> Path:
    # OpenSSL's own error does not say which of two files it could not open.
    if path is None:
        raise ConfigError(f"{name}: is not set; name a PEM file")
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        raise ConfigError(f"{name} = {str(path)!r}: cannot be read ({error.strerror})") from error


def _no_password() -> NoReturn:
    # Without this OpenSSL would ask on the terminal and the start would hang.
    raise ConfigError("tls.key_file: the key is encrypted; give one without a passphrase, readable by this user only")
