from __future__ import annotations

import base64
import json
import warnings
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OKPKey

from adapters.dukcapil.signature import (
    UnknownKeyError,
    Verified,
    encode,
    jwk,
    parse_jwks,
    sign_detached,
    verify_detached,
)
from gateway.errors import SignatureError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {"k1": KEY.public_key()}
BODY = b'{"id_kasus":"b-1"}'


def joserfc_key() -> OKPKey:
    raw = KEY.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return OKPKey.import_key({**jwk(KEY.public_key(), "k1"), "d": encode(raw)})


def crafted(header: dict[str, Any] | bytes, body: bytes = BODY, tail: str | None = None) -> str:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    protected = encode(raw)
    return f"{protected}..{tail or encode(KEY.sign(f'{protected}.{encode(body)}'.encode()))}"


@given(st.binary(max_size=300), st.none() | st.integers(0, 2**40))
def test_what_is_signed_can_be_verified(body: bytes, issued_at: int | None) -> None:
    signature = sign_detached(body, key=KEY, kid="k1", issued_at=issued_at)
    assert verify_detached(signature, body, KEYS) == Verified("k1", issued_at)


@given(st.binary(min_size=1, max_size=200))
def test_another_library_agrees_with_our_signature(body: bytes) -> None:
    protected, _, tail = sign_detached(body, key=KEY, kid="k1").split(".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RFC 9864 renames EdDSA; RFC 8037, which we follow, has it
        found = jws.deserialize_compact(f"{protected}.{encode(body)}.{tail}", joserfc_key(), algorithms=["EdDSA"])
    assert found.payload == body
    assert found.headers() == {"alg": "EdDSA", "kid": "k1"}


def test_we_agree_with_another_library_s_signature() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = jws.serialize_compact({"alg": "EdDSA", "kid": "k1"}, BODY, joserfc_key(), algorithms=["EdDSA"])
    assert verify_detached(jws.detach_content(whole), BODY, KEYS) == Verified("k1", None)


def test_the_example_of_rfc_8037_appendix_a_4_verifies() -> None:
    keys = parse_jwks(
        b'{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
    )
    header, tail = (
        "eyJhbGciOiJFZERTQSJ9",
        ("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"),
    )
    keys["a"].verify(
        base64.urlsafe_b64decode(tail + "=="), f"{header}.{encode(b'Example of Ed25519 signing')}".encode()
    )
    with pytest.raises(SignatureError, match="kid"):
        verify_detached(f"{header}..{tail}", b"Example of Ed25519 signing", keys)  # ours must name its key


@given(st.integers(0, len(BODY) * 8 - 1))
def test_one_changed_bit_of_the_body_is_seen(bit: int) -> None:
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError, match="does not fit"):
        verify_detached(sign_detached(BODY, key=KEY, kid="k1"), bytes(changed), KEYS)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "a..b..c",
        crafted({"alg": "EdDSA", "kid": "k1"}) + "=",
        crafted({"alg": "EdDSA", "kid": "k1"}).replace("..", f".{encode(BODY)}."),
        crafted({"alg": "none", "kid": "k1"}),
        crafted({"alg": "HS256", "kid": "k1"}),
        crafted({"alg": "eddsa", "kid": "k1"}),
        crafted({"kid": "k1"}),
        crafted({"alg": "EdDSA"}),
        crafted({"alg": "EdDSA", "kid": 1}),
        crafted({"alg": "EdDSA", "kid": ["k1"]}),
        crafted({"alg": "EdDSA", "kid": "k1", "crit": ["exp"], "exp": 1}),
        crafted({"alg": "EdDSA", "kid": "k1", "crit": ["b64"], "b64": False}),
        crafted({"alg": "EdDSA", "kid": "k1", "iat": "1"}),
        crafted({"alg": "EdDSA", "kid": "k1", "iat": True}),
        crafted(b'{"alg":"none","alg":"EdDSA","kid":"k1"}'),
        crafted(b"[]"),
        crafted(b"\xff"),
        crafted(b"[" * 3000),
        crafted({"alg": "EdDSA", "kid": "k1"}, tail=encode(bytes(63))),
        crafted({"alg": "EdDSA", "kid": "k1"}, tail=encode(bytes(65))),
        crafted({"alg": "EdDSA", "kid": "k1"}, tail=encode(bytes(64))),
        crafted({"alg": "EdDSA", "kid": "k1"}, tail="ä" * 86),
        crafted({"alg": "EdDSA", "kid": "k" * 5000}),
    ],
)
def test_anything_but_the_one_right_shape_is_refused(signature: str) -> None:
    with pytest.raises(SignatureError):
        verify_detached(signature, BODY, KEYS)


def test_a_second_spelling_of_a_good_signature_is_refused() -> None:
    good = sign_detached(BODY, key=KEY, kid="k1")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = good[:-1] + alphabet[alphabet.index(good[-1]) + 1]  # the last character holds two unused bits
    with pytest.raises(SignatureError, match="canonical"):
        verify_detached(twin, BODY, KEYS)


def test_an_unknown_key_is_told_apart() -> None:
    with pytest.raises(UnknownKeyError):
        verify_detached(sign_detached(BODY, key=KEY, kid="k2"), BODY, KEYS)


def test_a_key_set_gives_its_ed25519_signing_keys_and_passes_over_others() -> None:
    ours = jwk(KEY.public_key(), "k1")
    entries = [
        ours,
        {"kty": "EC", "crv": "P-256", "kid": "ec"},
        ours | {"kid": "enc", "use": "enc"},
        {**ours, "kid": 7},
        {"kty": "OKP", "crv": "X25519", "x": ours["x"], "kid": "x"},
        "nonsense",
    ]
    assert set(parse_jwks(json.dumps({"keys": entries}).encode())) == {"k1"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        json.dumps({"keys": [jwk(KEY.public_key(), "k1") | {"x": "AAAA"}]}).encode(),
        json.dumps({"keys": [jwk(KEY.public_key(), "k1") | {"x": "!"}]}).encode(),
        json.dumps(
            {"keys": [jwk(KEY.public_key(), "k1"), jwk(Ed25519PrivateKey.generate().public_key(), "k1")]}
        ).encode(),
    ],
)
def test_a_broken_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(SignatureError):
        parse_jwks(text)
