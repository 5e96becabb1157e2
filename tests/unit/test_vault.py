"""What was encrypted is read by who has the secret, whole, and by nobody else, and not in part."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.errors import SignatureError
from gateway.evidence import vault
from gateway.evidence.vault import CHUNK, Passphrase, PrivateKey, Recipient, VaultWriter, read_vault

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture(autouse=True)
def _quick_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "SCRYPT_N", 2**10)


def private_pem(key: X25519PrivateKey | Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: X25519PrivateKey | Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sealed(parts: Sequence[bytes], to: Passphrase | Recipient) -> bytes:
    file = io.BytesIO()
    writer = VaultWriter(file, to)
    for part in parts:
        writer.write(part)
    writer.close()
    return file.getvalue()


def opened(data: bytes, by: Passphrase | PrivateKey) -> bytes:
    return b"".join(read_vault(io.BytesIO(data), by))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_any_size_comes_back_with_the_passphrase(size: int) -> None:
    content = bytes(i % 251 for i in range(997)) * (size // 997 + 1)
    assert (
        opened(sealed([content[:size]], Passphrase("a long passphrase")), Passphrase("a long passphrase"))
        == content[:size]
    )


def test_who_has_the_public_key_only_cannot_read_and_who_has_the_private_one_can() -> None:
    key = X25519PrivateKey.generate()
    data = sealed([b"births", b" and keys"], Recipient(public_pem(key)))
    assert opened(data, PrivateKey(private_pem(key))) == b"births and keys"
    with pytest.raises(SignatureError, match="passphrase or key is wrong"):
        opened(data, PrivateKey(private_pem(X25519PrivateKey.generate())))
    with pytest.raises(SignatureError, match="--private-key"):
        opened(data, Passphrase("a long passphrase"))
    assert b"births" not in data


def test_the_same_content_twice_looks_different() -> None:
    to = Passphrase("a long passphrase")
    assert sealed([b"x" * 100], to)[-100:] != sealed([b"x" * 100], to)[-100:]


def test_a_wrong_passphrase_says_so() -> None:
    with pytest.raises(SignatureError, match="passphrase or key is wrong"):
        opened(sealed([b"x"], Passphrase("a long passphrase")), Passphrase("another passphrase"))


def test_a_file_made_by_passphrase_is_not_opened_by_a_key() -> None:
    with pytest.raises(SignatureError, match="--passphrase-file"):
        opened(sealed([b"x"], Passphrase("a long passphrase")), PrivateKey(private_pem(X25519PrivateKey.generate())))


def test_every_cut_and_every_changed_byte_is_noticed() -> None:
    to = Passphrase("a long passphrase")
    data = sealed([b"births" * 20], to)
    body = data.index(b"\n", len(vault.MAGIC)) + 1
    for end in (*range(body, len(data), 7), len(data) - 1):
        with pytest.raises(SignatureError):
            opened(data[:end], to)
    for place in range(body, len(data), 11):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(SignatureError):
            opened(bytes(changed), to)


def test_a_file_that_lost_its_last_chunk_is_not_taken_for_whole() -> None:
    to = Passphrase("a long passphrase")
    data = sealed([b"x" * (2 * CHUNK + 10)], to)
    with pytest.raises(SignatureError, match="cut short"):
        opened(data[: -(10 + 16 + 4)], to)


def test_a_file_that_was_cut_anywhere_is_not_blamed_on_the_passphrase() -> None:
    to = Passphrase("a long passphrase")
    for data in (sealed([b"births" * 20], to), sealed([bytes(2 * CHUNK + 10)], to)):
        head = data.index(b"\n", len(vault.MAGIC)) + 1
        ends = {0, 3, len(vault.MAGIC), head - 1, head, head + 2, head + 4, head + 10, len(data) // 2, len(data) - 1}
        for end in ends | {min(head + 4 + CHUNK + 16, len(data) - 1)}:  # between two chunks, where there are two
            with pytest.raises(SignatureError, match="cut short"):
                opened(data[:end], to)


def test_what_was_added_to_a_file_is_called_a_change() -> None:
    to = Passphrase("a long passphrase")
    with pytest.raises(SignatureError, match="something follows its end"):
        opened(sealed([b"births"], to) + b"\0\0\0\x20" + bytes(32), to)


@pytest.mark.parametrize(
    "header",
    [b"{}", b"[]", b"no json", b'{"kdf":"scrypt","n":1073741824,"salt":"AAAA"}',
     b'{"kdf":"scrypt","n":3,"salt":"AA=="}', b'{"kdf":"scrypt","n":1024}'],
)  # fmt: skip
def test_a_header_that_asks_for_nonsense_is_refused(header: bytes) -> None:
    with pytest.raises(SignatureError):
        opened(vault.MAGIC + header + b"\n" + bytes(40), Passphrase("a long passphrase"))


def test_another_file_is_none_of_ours() -> None:
    with pytest.raises(SignatureError, match="not a backup"):
        opened(b"PGDMP" + bytes(100), Passphrase("a long passphrase"))


def test_keys_of_another_kind_are_named() -> None:
    with pytest.raises(SignatureError, match="X25519"):
        Recipient(public_pem(Ed25519PrivateKey.generate()))
    with pytest.raises(SignatureError, match="X25519"):
        PrivateKey(private_pem(Ed25519PrivateKey.generate()))
    for make in (Recipient, PrivateKey):
        with pytest.raises(SignatureError, match="PEM"):
            make(b"nothing")
