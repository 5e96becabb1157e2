"""Keys come and go while a gateway runs: new ones beside old ones, and retired ones that check what they signed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from gateway.errors import ConfigError, KeyMissingError, SignatureError
from gateway.evidence.envelope import open_compact, public_keys, sign_compact, sign_detached, verify_detached
from gateway.evidence.keys import Keyring, b64url, jwk, public_halves

if TYPE_CHECKING:
    from pathlib import Path


def opened(directory: Path) -> Keyring:
    keyring = Keyring(directory)
    keyring.open()
    return keyring


def kids(keyring: Keyring) -> list[str]:
    return [key["kid"] for key in keyring.jwks()["keys"]]


def test_a_key_made_elsewhere_signs_here_after_a_refresh(tmp_path: Path) -> None:
    running = opened(tmp_path)
    assert running.refresh() is False
    made = opened(tmp_path).new()
    assert running.signing.key_id != made.key_id
    assert running.refresh() is True
    assert running.signing.key_id == made.key_id
    assert running.refresh() is False


def test_a_key_for_later_is_published_at_once_and_signs_when_its_time_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = opened(tmp_path)
    old = keyring.signing
    later = keyring.new(signs_in_s=600)
    again = opened(tmp_path)
    assert kids(again) == [old.key_id, later.key_id]
    assert again.signing.key_id == old.key_id
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 601 * 10**9)
    assert again.signing.key_id == later.key_id


def test_a_retired_key_signs_no_more_and_stays_published(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    old = keyring.signing
    signature = sign_detached(b"x", old)
    new = keyring.new()
    running = opened(tmp_path)
    keyring.retire(old.key_id)
    assert [path.name for path in tmp_path.glob("sign-*")] == [f"sign-{new.key_id}.pem"]
    assert b"PRIVATE" not in (tmp_path / f"retired-{old.key_id}.pem").read_bytes()
    for ring in (keyring, opened(tmp_path)):
        assert kids(ring) == [old.key_id, new.key_id]
        assert [key.key_id for key in ring.keys] == [new.key_id]
        assert verify_detached(b"x", signature, public_keys(ring.jwks())) == old.key_id
    assert running.refresh()
    assert [key.key_id for key in running.keys] == [new.key_id]


def test_the_newest_key_can_be_retired_too_where_another_one_signs_then(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    old = keyring.signing
    keyring.retire(keyring.new().key_id)
    assert keyring.signing.key_id == old.key_id


def test_retiring_that_was_cut_short_is_ended_by_the_next_reading(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    old = keyring.signing
    kept = (tmp_path / f"sign-{old.key_id}.pem").read_bytes()
    keyring.new()
    keyring.retire(old.key_id)
    (tmp_path / f"sign-{old.key_id}.pem").write_bytes(kept)  # killed between its two steps
    assert old.key_id not in [key.key_id for key in opened(tmp_path).keys]
    assert not (tmp_path / f"sign-{old.key_id}.pem").exists()


def test_the_only_key_that_can_sign_is_not_retired(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    keyring.new(signs_in_s=600)
    with pytest.raises(ConfigError, match="no other key could sign now"):
        keyring.retire(keyring.signing.key_id)
    with pytest.raises(ConfigError, match="is not there"):
        keyring.retire("unknown")
    assert len(opened(tmp_path).keys) == 2


def test_keys_that_vanish_are_told_and_the_loaded_ones_go_on(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    signing = keyring.signing
    for path in tmp_path.glob("sign-*"):
        path.unlink()
    with pytest.raises(KeyMissingError, match="cannot be read"):
        keyring.refresh()
    assert keyring.signing is signing


def test_public_halves_are_read_without_making_anything(tmp_path: Path) -> None:
    with pytest.raises(KeyMissingError, match="there are no keys"):
        public_halves(tmp_path)
    assert list(tmp_path.iterdir()) == []
    keyring = opened(tmp_path)
    old = keyring.signing
    new = keyring.new()
    keyring.retire(old.key_id)
    assert public_halves(tmp_path) == {old.key_id: old.public, new.key_id: new.public}


def test_a_jwk_set_gives_its_ed25519_keys_and_passes_others_by(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    published = keyring.jwks()["keys"]
    other = {"kty": "EC", "crv": "P-256", "kid": "x", "x": "AA", "y": "AA"}
    assert public_keys({"keys": [other, *published]}) == keyring.public


@pytest.mark.parametrize(
    ("jwks", "told"),
    [
        (None, "not a JWK set"),
        ({"keys": 1}, "not a JWK set"),
        ({"keys": []}, "holds no Ed25519 key"),
        ({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "!"}]}, "not base64url"),
        ({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}, "not 32 bytes"),
        ({"keys": [{**jwk(bytes(32)), "kid": "mine"}]}, "not its RFC 7638 thumbprint"),
    ],
)
def test_a_jwk_set_that_is_none_is_refused(jwks: object, told: str) -> None:
    with pytest.raises(SignatureError, match=told):
        public_keys(jwks)


def test_a_compact_signature_gives_its_payload_back_and_nothing_altered_passes(tmp_path: Path) -> None:
    keyring = opened(tmp_path)
    keys = keyring.public
    jws = sign_compact(b'{"size":1}', keyring.signing, typ="a")
    assert open_compact(jws, keys, typ="a") == (b'{"size":1}', keyring.signing.key_id)
    header, body, signature = jws.split(".")
    none = b64url(b'{"alg":"none"}')
    critical = b64url(b'{"alg":"EdDSA","crit":["b64"],"kid":"x"}')
    for altered, typ in (
        (jws, None),
        (jws, "b"),
        (f"{header}.{b64url(b'{}')}.{signature}", "a"),
        (f"{header}.{body}.{b64url(bytes(64))}", "a"),
        (f"{header}.{body}.", "a"),
        (f"{header}.{body}", "a"),
        (f"{header}.{body}=.{signature}", "a"),
        (f"{none}.{body}.{signature}", None),
        (f"{critical}.{body}.{signature}", None),
        (f"{b64url(b'[]')}.{body}.{signature}", None),
        (f"{b64url(b'x')}.{body}.{signature}", None),
        (sign_detached(b"", keyring.signing), "a"),
    ):
        with pytest.raises(SignatureError):
            open_compact(altered, keys, typ=typ)
    with pytest.raises(SignatureError, match="not among the 0 keys"):
        open_compact(jws, {}, typ="a")
    with pytest.raises(SignatureError, match="not detached"):
        verify_detached(b'{"size":1}', jws, keys)
