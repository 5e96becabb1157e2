"""Canonical bytes and the detached signature over them, with other people's code as the oracle."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import OKPKey

from gateway.evidence.canonical import canonical, sha256_hex
from gateway.evidence.envelope import sign_detached
from gateway.evidence.keys import Keyring, SigningKey

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc: RFC 9864 renames it

SAFE = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    """Return a signing key."""
    directory: Path = tmp_path_factory.mktemp("keys")
    keyring = Keyring(directory)
    keyring.open()
    return keyring.signing


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verified(payload: bytes, signature: str, key: SigningKey) -> dict[str, Any]:
    """Check a detached JWS by joserfc and return its header."""
    header, nothing, mac = signature.split(".")
    assert nothing == ""
    public = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public)})
    found = jws.deserialize_compact(f"{header}.{b64url(payload)}.{mac}", public, algorithms=["EdDSA"])
    assert found.payload == payload
    return dict(found.headers())


@pytest.mark.parametrize("payload", [b"", b"{}", bytes(range(256)), b"x" * 50_000])
def test_another_library_verifies_what_was_signed(key: SigningKey, payload: bytes) -> None:
    assert verified(payload, sign_detached(payload, key), key) == {"alg": "EdDSA", "kid": key.key_id}


def test_one_changed_byte_is_noticed(key: SigningKey) -> None:
    signature = sign_detached(b'{"nama":"A"}', key)
    with pytest.raises(BadSignatureError):
        verified(b'{"nama":"B"}', signature, key)


def test_the_same_bytes_have_the_same_signature(key: SigningKey) -> None:
    assert sign_detached(b"x", key) == sign_detached(b"x", key)
    assert sign_detached(b"x", key) != sign_detached(b"y", key)


def shuffled(value: Any, rng: random.Random) -> Any:
    if isinstance(value, list):
        return [shuffled(item, rng) for item in value]
    if isinstance(value, dict):
        items = [(k, shuffled(v, rng)) for k, v in value.items()]
        rng.shuffle(items)
        return dict(items)
    return value


@given(JSON, st.integers())
def test_the_order_of_keys_does_not_matter(value: Any, seed: int) -> None:
    assert canonical(value) == canonical(shuffled(value, random.Random(seed)))


@given(JSON)
def test_canonical_bytes_are_json_of_the_same_value_and_stay_canonical(value: Any) -> None:
    data = canonical(value)
    back = json.loads(data, parse_int=float)  # every number of JSON is a double (RFC 8785 section 3.2.2.3)
    assert back == value
    assert canonical(back) == data


@given(JSON, JSON)
def test_different_values_have_different_bytes(one: Any, other: Any) -> None:
    if json.loads(canonical(one)) != json.loads(canonical(other)):
        assert canonical(one) != canonical(other)


def test_the_example_of_rfc_8785() -> None:
    text = (
        r'{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
        r'"string":"\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}'
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}'
    )
    assert canonical(json.loads(text)) == expected.encode()


@pytest.mark.parametrize("value", [2**53, -(2**53), float("nan"), float("inf"), {1: "key"}, object(), {"a": {1, 2}}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical(value)


def test_the_digest_is_lower_case_hex() -> None:
    assert sha256_hex(b"abc") == hashlib.sha256(b"abc").hexdigest()
