"""A file that only who has the passphrase, or the private key, can read: how backups leave the house.

    line 1   PROCOT-VAULT-1
    line 2   JSON: how the file's key is had
    then     chunks: 4 bytes length, big-endian; AES-256-GCM of at most CHUNK bytes, with its tag

The key is new for each file: scrypt of a passphrase with a random salt, or X25519 with an ephemeral key and
HKDF-SHA256. So the nonce may be the chunk's number; its last byte marks the last chunk, so that a file cut short is
noticed. Both lines are authenticated with every chunk.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from typing import TYPE_CHECKING, BinaryIO

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"PROCOT-VAULT-1\n"
CHUNK = 1024 * 1024
SCRYPT_N = 2**17  # 128 MiB of memory a guess
_SCRYPT_R, _SCRYPT_P = 8, 1
_MOST_N = 2**20  # a file may not ask for more memory than that
_TAG, _LONGEST_HEADER = 16, 4096
_LAST = 1


class Passphrase:
    """A secret that people keep."""

    def __init__(self, text: str) -> None:
        self._text = text.encode()

    def new(self) -> tuple[dict[str, object], bytes]:
        """Return the header of a new file and its key."""
        salt = os.urandom(16)
        header = {"kdf": "scrypt", "n": SCRYPT_N, "salt": base64.b64encode(salt).decode()}
        return header, self._derive(salt, SCRYPT_N)

    def key(self, header: dict[str, object]) -> bytes:
        """Return the key of an existing file. Raises SignatureError."""
        n = header.get("n")
        if header.get("kdf") != "scrypt" or not isinstance(n, int) or not 1 < n <= _MOST_N or n & (n - 1):
            raise SignatureError("the file was not made with a passphrase; name the private key with --private-key")
        return self._derive(_bytes(header, "salt"), n)

    def _derive(self, salt: bytes, n: int) -> bytes:
        return Scrypt(salt=salt, length=32, n=n, r=_SCRYPT_R, p=_SCRYPT_P).derive(self._text)


class Recipient:
    """The public half of an X25519 key: whoever makes backups need not be able to read them."""

    def __init__(self, pem: bytes) -> None:
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SignatureError("not a public key in PEM; make one by `openssl pkey -in KEY -pubout`") from error
        if not isinstance(key, X25519PublicKey):
            raise SignatureError("not an X25519 key; make one by `openssl genpkey -algorithm X25519`")
        self._key = key

    def new(self) -> tuple[dict[str, object], bytes]:
        """Return the header of a new file and its key."""
        ephemeral = X25519PrivateKey.generate()
        theirs, ours = _raw(self._key), _raw(ephemeral.public_key())
        header: dict[str, object] = {"kdf": "x25519", "ephemeral": base64.b64encode(ours).decode()}
        return header, _agreed(ephemeral.exchange(self._key), ours + theirs)


class PrivateKey:
    """The other half."""

    def __init__(self, pem: bytes) -> None:
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SignatureError("not an unencrypted private key in PEM") from error
        if not isinstance(key, X25519PrivateKey):
            raise SignatureError("not an X25519 key")
        self._key = key

    def key(self, header: dict[str, object]) -> bytes:
        """Return the key of an existing file. Raises SignatureError."""
        if header.get("kdf") != "x25519":
            raise SignatureError("the file was made with a passphrase; name its file with --passphrase-file")
        theirs, ours = _bytes(header, "ephemeral"), _raw(self._key.public_key())
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(theirs))
        except ValueError as error:
            raise SignatureError("the file's header is broken") from error
        return _agreed(shared, theirs + ours)


class VaultWriter:
    """Encrypts what is written to a file. `close` writes the last chunk; without it the file cannot be read."""

    def __init__(self, file: BinaryIO, to: Passphrase | Recipient) -> None:
        header, key = to.new()
        self._head = MAGIC + json.dumps(header).encode() + b"\n"
        self._file, self._cipher = file, AESGCM(key)
        self._pending = bytearray()
        self._number = 0
        file.write(self._head)

    def write(self, data: bytes) -> None:
        """Add bytes."""
        self._pending += data
        while len(self._pending) > CHUNK:
            self._chunk(bytes(self._pending[:CHUNK]), last=False)
            del self._pending[:CHUNK]

    def close(self) -> None:
        """End the file; its owner syncs and closes it."""
        self._chunk(bytes(self._pending), last=True)

    def _chunk(self, data: bytes, *, last: bool) -> None:
        sealed = self._cipher.encrypt(_nonce(self._number, last=last), data, self._head)
        self._file.write(len(sealed).to_bytes(4) + sealed)
        self._number += 1


def read_vault(file: BinaryIO, by: Passphrase | PrivateKey) -> Iterator[bytes]:
    """Yield what was written, chunk by chunk. Raises SignatureError for a wrong key and for any change or cut.

    A cut shows before any key is tried: nobody shall look for another passphrase where a copy broke off.
    """
    head = file.readline(_LONGEST_HEADER)
    if head != MAGIC:
        raise _cut() if MAGIC.startswith(head) else SignatureError("not a backup of Procot")
    line = file.readline(_LONGEST_HEADER)
    if not line.endswith(b"\n") and len(line) < _LONGEST_HEADER:
        raise _cut()
    try:
        header = json.loads(line)
    except ValueError as error:
        raise SignatureError("the file's header is broken") from error
    if not isinstance(header, dict):
        raise SignatureError("the file's header is broken")
    cipher = AESGCM(by.key(header))
    number, last = 0, False
    while not last:
        sealed = _sealed(file)
        last = not _more(file)
        try:
            data = cipher.decrypt(_nonce(number, last=last), sealed, head + line)
        except InvalidTag as error:
            if not _opens(cipher, _nonce(number, last=not last), sealed, head + line):
                why = (
                    "the passphrase or key is wrong, or the file was changed" if number == 0 else "the file was changed"
                )
                raise SignatureError(why) from error
            # Its last chunk says that more should follow, or something follows its last chunk.
            raise (_cut() if last else SignatureError("the file was changed: something follows its end")) from error
        yield data
        number += 1


def _sealed(file: BinaryIO) -> bytes:
    """Read one chunk as it lies in the file. Raises SignatureError."""
    length = file.read(4)
    size = int.from_bytes(length)
    if len(length) == 4 and not _TAG <= size <= CHUNK + _TAG:  # noqa: PLR2004 - the bytes just asked for
        raise SignatureError("the file was changed: no chunk of ours has this length")
    sealed = file.read(size)
    if len(length) < 4 or len(sealed) < size:  # noqa: PLR2004 - the bytes just asked for
        raise _cut()
    return sealed


def _opens(cipher: AESGCM, nonce: bytes, sealed: bytes, about: bytes) -> bool:
    try:
        cipher.decrypt(nonce, sealed, about)
    except InvalidTag:
        return False
    return True


def _cut() -> SignatureError:
    return SignatureError("the file was cut short (a copy that broke off, or a full disk?); take a whole copy of it")


def _more(file: BinaryIO) -> bool:
    here = file.tell()
    more = bool(file.read(1))
    file.seek(here)
    return more


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11) + bytes([_LAST if last else 0])


def _agreed(shared: bytes, context: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=MAGIC + context).derive(shared)


def _raw(key: X25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _bytes(header: dict[str, object], name: str) -> bytes:
    try:
        return base64.b64decode(str(header[name]), validate=True)
    except (KeyError, binascii.Error) as error:
        raise SignatureError("the file's header is broken") from error
