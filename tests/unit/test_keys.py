"""Key files: made once, readable by their owner only, named by their thumbprint, whole also when two begin at once."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import OKPKey

from gateway.errors import KeyMissingError
from gateway.evidence.keys import Keyring, jwk, thumbprint

if TYPE_CHECKING:
    from pathlib import Path

# RFC 8037 appendix A.3: the thumbprint of the key of A.1.
RFC_8037_X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
RFC_8037_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def opened(directory: Path) -> Keyring:
    keyring = Keyring(directory)
    keyring.open()
    return keyring


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_on_first_use_readable_by_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "keys"
    keyring = opened(directory)
    names = sorted(p.name for p in directory.iterdir())
    assert names == ["index.key", f"sign-{keyring.signing.key_id}.pem"]
    assert {mode(p) for p in directory.iterdir()} == {0o600}
    assert mode(directory) == 0o700


def test_keys_are_readable_by_their_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    code = """
import os, pathlib, sys
from gateway.evidence.keys import Keyring
os.umask(0)
Keyring(pathlib.Path(sys.argv[1])).open()
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "keys")], check=True)
    assert {mode(p) for p in (tmp_path / "keys").iterdir()} == {0o600}


def test_a_second_use_finds_the_same_keys(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    assert first.signing.key_id == second.signing.key_id
    assert first.index("3510165203959001") == second.index("3510165203959001")
    assert first.jwks() == second.jwks()


def test_the_key_id_is_the_thumbprint_of_rfc_7638(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    key = keyring.signing
    assert thumbprint(base64.urlsafe_b64decode(RFC_8037_X + "=")) == RFC_8037_THUMBPRINT
    assert OKPKey.import_key({**jwk(key.public)}).thumbprint() == key.key_id
    (published,) = keyring.jwks()["keys"]
    assert published == {**jwk(key.public), "kid": key.key_id, "use": "sig", "alg": "EdDSA"}
    assert "d" not in published


def test_a_new_key_signs_and_the_old_one_stays_published(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    old = keyring.signing
    new = keyring.new()
    assert keyring.signing is new
    assert [k["kid"] for k in keyring.jwks()["keys"]] == [old.key_id, new.key_id]
    again = opened(tmp_path)
    assert [k.key_id for k in again.keys] == [old.key_id, new.key_id]
    Ed25519PublicKey.from_public_bytes(old.public).verify(old.sign(b"x"), b"x")


def test_the_order_of_keys_survives_equal_file_times(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    made = [keyring.signing, *(keyring.new() for _ in range(4))]
    for path in tmp_path.glob("sign-*.pem"):
        os.utime(path, (0, 0))  # as after a restore
    assert [k.key_id for k in opened(tmp_path).keys] == [k.key_id for k in made]


def test_no_private_half_is_printed(tmp_path: Path) -> None:
    key = opened(tmp_path).signing
    assert repr(key) == f"<SigningKey {key.key_id}>"


def test_an_unopened_ring_has_no_key(tmp_path: Path) -> None:
    with pytest.raises(KeyMissingError, match="procot keys new"):
        _ = Keyring(tmp_path).signing


def test_the_index_hides_the_value_and_depends_on_the_key(tmp_path: Path) -> None:
    one, other = opened(tmp_path / "1"), opened(tmp_path / "2")
    assert one.index("3510165203959001") != other.index("3510165203959001")
    assert one.index("3510165203959001") != one.index("3510160407929001")
    assert len(one.index("")) == 32


@pytest.mark.parametrize("content", [b"", b"no pem", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_broken_key_file_is_named_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sign-x.pem").write_bytes(content)
    with pytest.raises(KeyMissingError, match="restore them from the backup"):
        opened(tmp_path)
    assert [p.name for p in tmp_path.glob("sign-*")] == ["sign-x.pem"]


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "sign-x.pem").write_bytes(pem)
    with pytest.raises(KeyMissingError):
        opened(tmp_path)


def test_a_short_index_key_is_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    (tmp_path / "index.key").write_bytes(b"short")
    with pytest.raises(KeyMissingError):
        opened(tmp_path)


def test_a_directory_that_is_a_file_is_a_missing_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeyMissingError):
        opened(tmp_path / "keys")


def test_processes_that_begin_at_once_share_the_index_key_and_leave_whole_files(tmp_path: Path) -> None:
    code = """
import json, pathlib, sys
from gateway.evidence.keys import Keyring
print("ready", flush=True)
sys.stdin.readline()
ring = Keyring(pathlib.Path(sys.argv[1]))
ring.open()
print(json.dumps([ring.index("x").hex(), ring.signing.key_id]), flush=True)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "keys")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    told = []
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=30)
        told.append(json.loads(out))
    assert len({index for index, _ in told}) == 1
    later = opened(tmp_path / "keys")
    assert later.index("x").hex() == told[0][0]
    assert {key_id for _, key_id in told} <= {key.key_id for key in later.keys}
    assert not [p for p in (tmp_path / "keys").iterdir() if p.name.startswith(".")]


def test_a_key_that_another_process_made_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path)
    before = (tmp_path / "index.key").read_bytes()
    monkeypatch.setattr("pathlib.Path.exists", lambda _path: False)
    assert opened(tmp_path).index("x")
    monkeypatch.undo()
    assert (tmp_path / "index.key").read_bytes() == before


def test_keys_that_were_not_read_hash_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyMissingError, match="index key"):
        Keyring(tmp_path).index("3510165203959001")
