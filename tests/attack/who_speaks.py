"""Attacks on who speaks: characters that command a terminal, foreign addresses, old keys, borrowed names."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from adapters.dukcapil.adapter import open_dukcapil
from adapters.dukcapil.sandbox.keys import own_key, thumbprint
from adapters.dukcapil.signature import encode, jwk
from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import Certificate, RegistrySettings
from gateway.errors import DocumentAddressError
from gateway.mllp.framing import frame
from tests.attack.attack import Attack, Ground, refused
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import notice
from tests.simulators.registry import Clock
from tests.unit.test_document_addresses import WRONG

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.system import System

_CALLBACK = "/v1/registry/callbacks/dukcapil"
_HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202e"
_NO_WORDS: tuple[Any, ...] = (1, "", "\x1b", "x" * 5000, [], None)
_NO_JSON = (b'{"a":' * 9000, b'{"revisi": 1e99999999999999999999}', b'{"revisi": ' + b"9" * 5000 + b"}", b"\xff", b"")
_BOUND: tuple[dict[str, Any], ...] = ({"code": HOSPITAL, "region": "3510", "certificates": ["rs-cempaka"]},)


async def _hostile_identifiers(ground: Ground) -> str:
    async with ground.system() as running:
        plain = notice().replace(b"|||AL|AL|", b"|||||")  # answered AA, AE or AR at once
        number = plain.replace(b"||00450121^", b"||0045" + _HOSTILE.encode() + b"0121^")
        header = plain.replace(b"|T0", b"|T" + _HOSTILE.encode() + b"0", 1)
        answers = [(await running.send_raw(frame(raw)))[0].decode() for raw in (number, header)]
        refused("|102^" in answers[0] and "MSA|AE" in answers[0], f"a birth under a hostile number: {answers[0]}")
        refused("MSA|AR" in answers[1], f"a message under a hostile control id: {answers[1]}")
        refused(not await running.births(), "a birth")
        config = configuration(ground.directory, ground.dsn, facility=HOSPITAL)
        shown = [await procot("quarantine", *words, "--config", config) for words in (("list",), ("show", 1))]
    refused(all(c.isprintable() or c == "\n" for done in shown for c in done.out + done.err), "the operator's terminal")
    return "AE 102 and AR, no birth; the operator sees signs in place of commands"


async def _foreign_addresses(ground: Ground) -> str:
    calls: list[str] = []

    async def called(request: web.Request) -> web.StreamResponse:
        calls.append(request.path)
        raise web.HTTPFound("http://127.0.0.1:9/") if request.path == "/302" else web.HTTPOk

    runner = web.AppRunner(web.Application())
    runner.app.router.add_route("*", "/{path:.*}", called)
    await runner.setup()
    for _ in range(2):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    evil, good = (f"127.0.0.1:{address[1]}" for address in runner.addresses)
    adapter = open_dukcapil(RegistrySettings(url=f"http://{good}", clock=Clock()))
    wrong = [*WRONG, f"http://{evil}/", f"http://{good}@{evil}/", f"//{evil}/", f"HTTP:{evil}"]
    for url in wrong:
        certificate = Certificate("3510-LU-20032025-0001", Nik(""), Personal(""), Clock()(), "0" * 64, url)
        try:
            await adapter.fetch_document(certificate)
        except DocumentAddressError:
            continue
        refused(not url, f"a call to {url!r}")
    await adapter.close()
    await runner.cleanup()
    refused(not calls, f"requests for {calls}")
    return f"{len(wrong)} addresses, 0 requests"


def _signed(directory: Path, header: dict[str, Any], body: bytes, *, waktu: str = "") -> dict[str, str]:
    """Return the headers of a callback that the registry's own key signed, whatever its header says."""
    key = own_key(directory / "registry" / "registry-key.pem")
    now = dt.datetime.now(dt.UTC)
    header = {"alg": "EdDSA", "kid": thumbprint(key.public_key()), "iat": int(now.timestamp()), **header}
    protected = encode(json.dumps(header).encode())
    signature = encode(key.sign(f"{protected}.{encode(body)}".encode()))
    return {"X-Tanda-Tangan": f"{protected}..{signature}", "X-Waktu": waktu or now.isoformat(timespec="seconds")}


async def _post(running: System, headers: dict[str, str], body: bytes) -> int:
    async with running.request(_CALLBACK, method="POST", headers=headers, data=body) as response:
        return response.status


async def _signed_nonsense(ground: Ground) -> str:
    body = json.dumps({"id_kasus": "b-1", "revisi": 1, "status": "VERIFIKASI"}).encode()
    numbers: tuple[Any, ...] = (10**400, -1, 1.5, 1e300, True, None, "1", [], {})
    headers: list[dict[str, Any]] = [{name: value} for name in ("iat", "nbf", "exp") for value in numbers]
    headers += [{name: value} for name in ("aud", "jti") for value in _NO_WORDS]
    bodies = [
        json.dumps({"id_kasus": "b-1", "status": "VERIFIKASI", **more}).encode()
        for more in ({"revisi": 10**30}, {"revisi": 2**31}, {"revisi": 1, "id_kasus": "\0"})
    ]
    bodies += _NO_JSON
    statuses = []
    async with ground.system(callbacks=False) as running:
        statuses += [await _post(running, _signed(ground.directory, header, body), body) for header in headers]
        statuses += [await _post(running, _signed(ground.directory, {}, other), other) for other in bodies]
    refused(all(400 <= status < 500 for status in statuses), f"statuses {sorted(set(statuses))}")
    refused(statuses[: len(numbers)].count(400) == len(numbers), f"statuses {statuses[: len(numbers)]} for iat")
    return f"{len(statuses)} rightly signed kinds of nonsense: 400 to 422, none 500"


async def _replays(ground: Ground) -> str:
    one, other = (json.dumps({"id_kasus": "b-1", "revisi": n, "status": "VERIFIKASI"}).encode() for n in (1, 2))
    async with ground.system(callbacks=False) as running:
        statuses = {
            "for another office": await _post(running, _signed(ground.directory, {"aud": "3578"}, one), one),
            "too early": await _post(running, _signed(ground.directory, {"nbf": 2**39}, one), one),
            "too late": await _post(running, _signed(ground.directory, {"exp": 1}, one), one),
        }
        first = await _post(running, _signed(ground.directory, {"jti": "j-1", "aud": "3510"}, one), one)
        refused(first == 404, f"{first}: the birth is nobody's")
        statuses["a used jti"] = await _post(running, _signed(ground.directory, {"jti": "j-1"}, other), other)
    refused(set(statuses.values()) == {401}, str(statuses))
    return ", ".join(statuses) + ": 401"


async def _withdrawn_key(ground: Ground) -> str:
    keys, body = ground.directory / "jwks.json", b"{}"
    async with ground.system(callbacks=False, config={"registry": {"callback_jwks": str(keys)}}) as running:
        key = own_key(ground.directory / "registry" / "registry-key.pem").public_key()
        keys.write_text(json.dumps({"keys": [jwk(key, thumbprint(key))]}))
        believed = await _post(running, _signed(ground.directory, {}, body), body)
        refused(believed == 422, f"{believed} while the key counts")
        keys.write_text('{"keys": []}')
        async with asyncio.timeout(5):
            status = believed
            while status == believed:
                await asyncio.sleep(0.1)
                status = await _post(running, _signed(ground.directory, {}, body), body)
    refused(status == 401, f"{status} once the key was withdrawn")
    return "withdrawn in the file: 401 within 5 s"


async def _borrowed_name(ground: Ground) -> str:
    async with ground.system(facilities=_BOUND) as running:
        headers = {"Content-Type": "application/hl7-v2"}
        answers = []
        for path in ("/v1/hl7", "/v1/hl7/validate"):
            async with running.request(
                path, token=running.operator, method="POST", data=notice(), headers=headers
            ) as response:
                answers.append(await response.text())
        answers.append((await running.send(notice())).decode())
        refused(all("FACILITY_NOT_ALLOWED" in answer for answer in answers), "a birth in a bound facility's name")
        refused(not await running.births(), "a birth")
    return "FACILITY_NOT_ALLOWED by an operator's token and over plain MLLP"


async def _expired_token(ground: Ground) -> str:
    async with ground.system() as running:
        token = await running.new_token("operator")
        await running.fetch("UPDATE tokens SET expires_at = now() - interval '1 second'")
        async with running.request("/v1/births", token=token) as response:
            told = await response.json()
            refused(response.status == 401, "the births, with a token that has expired")
    refused("expired" in told["detail"], told["detail"])
    return f"401: {told['detail']}"


ATTACKS = (
    Attack("E1", "identifiers that command a terminal", _hostile_identifiers),
    Attack("E2", "a certificate at somebody else's address", _foreign_addresses),
    Attack("E3", "nonsense signed by the registry's key", _signed_nonsense),
    Attack("E3", "a callback for others, for another time, or under a used id", _replays),
    Attack("E3", "a key that the registry withdrew", _withdrawn_key),
    Attack("E4", "an operator's token in the name of a hospital with a certificate", _borrowed_name),
    Attack("E4", "a token that has expired", _expired_token),
)
