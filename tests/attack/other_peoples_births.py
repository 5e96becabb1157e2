"""Attacks on another one's births: by a token of another hospital, by no token, by an answer nobody signed."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from tests.attack.attack import Attack, Ground, refused
from tests.simulators.facilities import CLINIC, HOSPITAL, sample

if TYPE_CHECKING:
    from tests.simulators.system import System

_CONTROL_ID = "RSC20250311000101"  # of sample 01
_TWO_HOSPITALS = {"registry": {"require_form": False}}


async def _told(running: System) -> str:
    """Send the birth that the attacker wants; return its id."""
    await running.send(sample("01"))
    birth = await running.until(_CONTROL_ID, "DELIVERED")
    return str(birth["id"])


async def _read_with_another_hospitals_token(ground: Ground) -> str:
    async with ground.system(config=_TWO_HOSPITALS) as running:
        birth_id = await _told(running)
        for path in ("", "/history", "/document"):
            async with running.request(f"/v1/births/{birth_id}{path}", token=running.facility[CLINIC]) as answer:
                refused(answer.status == 404, f"{path or 'the birth'} with status {answer.status}")
        async with running.request("/v1/births", token=running.facility[CLINIC]) as answer:
            refused((await answer.json())["items"] == [], "the list of another hospital's births")
        async with running.request(f"/v1/births/{birth_id}", token=running.facility[HOSPITAL]) as answer:
            refused(answer.status == 200, "the hospital itself was locked out")
    return "404, as if there were no such birth"


async def _read_without_a_token(ground: Ground) -> str:
    async with ground.system(config=_TWO_HOSPITALS) as running:
        birth_id = await _told(running)
        for path in ("/v1/births", f"/v1/births/{birth_id}", f"/v1/births/{birth_id}/document", "/v1/births/stream"):
            async with running.request(path) as answer:
                refused(answer.status == 401, f"{path} with status {answer.status}")
    return "401"


async def _answer_in_the_registrys_name(ground: Ground) -> str:
    async with ground.system(config=_TWO_HOSPITALS, work_seconds=3600) as running:
        await running.send(sample("01"))
        birth = await running.until(_CONTROL_ID, "IN_PROCESS")
        body = _unsigned({"id": birth["id"], "status": "TERBIT", "nomor_akta": "3510-LU-24112026-0001"})
        path = "/v1/registry/callbacks/dukcapil"
        async with running.request(path, method="POST", data=body) as answer:
            refused(answer.status == 401, f"status {answer.status} for an answer that nobody signed")
        refused((await running.birth(_CONTROL_ID))["certificate"] is None, "a certificate that nobody issued")
    return "401, the birth stays IN_PROCESS"


def _unsigned(claims: dict[str, object]) -> bytes:
    """Return a compact JWS whose signature was made by nobody."""
    header = {"alg": "EdDSA", "kid": "registry-key"}
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims))
    return b".".join((*parts, base64.urlsafe_b64encode(bytes(64)).rstrip(b"=")))


ATTACKS = (
    Attack("scope", "reading a birth with another hospital's token", _read_with_another_hospitals_token),
    Attack("scope", "reading births without a token", _read_without_a_token),
    Attack("scope", "an answer in the registry's name, signed by nobody", _answer_in_the_registrys_name),
)
