"""Attacks on availability: by strangers without a token, by one facility's token, by a peer that never stops."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from typing import TYPE_CHECKING, Any

from gateway.app import split_address
from gateway.contract.lifecycle import State
from gateway.hl7.header import salvage_header
from gateway.mllp.framing import frame
from gateway.store import tokens
from tests.attack.attack import Attack, Ground, refused
from tests.simulators.facilities import HOSPITAL, sample
from tests.simulators.journey import notice

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulators.system import System

_MIB = 1024 * 1024
_CONTROL_ID = "RSC20250311000101"  # of sample 01
_ANSWER_BYTES = 64 * 1024  # an answer is not many times its request
_DEEP = 100_000
_JUDGED = [state.value for state in State if state is not State.RECEIVED]


async def _raw(running: System, head: str, body: bytes = b"") -> bytes:
    """Send a request as it is written; return the whole answer, b"" where the connection was cut."""
    reader, writer = await asyncio.open_connection(*split_address(running.http.removeprefix("http://")))
    try:
        writer.write(f"{head}\r\nHost: x\r\n\r\n".encode() + body)
        async with asyncio.timeout(30):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def _births_come_in(running: System, number: str) -> None:
    """Go on where an honest birth is still taken."""
    answer = await running.send(notice(control_id=f"HONEST{number}", record_number=f"HONEST{number}"))
    refused(b"MSA|AA" in answer or b"MSA|CA" in answer, "an honest birth was not taken any more")


# ---------------------------------------------------------------------------------------------- bodies nobody reads


async def _gzip_bomb(ground: Ground) -> str:
    bomb = gzip.compress(bytes(256 * _MIB), 9)
    async with ground.system() as running:
        for path in ("/v1/hl7", "/v1/births/search", "/v1/registry/callbacks/dukcapil", "/nowhere"):
            head = f"POST {path} HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}"
            answer = await _raw(running, head, bomb)
            refused(answer.startswith(b"HTTP/1.1 415 "), f"{path}: {answer[:20]!r}")
            refused(b"\r\nConnection: close\r\n" in answer, f"{path}: the connection stays open for the body")
        await _births_come_in(running, "1")
    return "415 before the body is read, and closed"


async def _promised_body(ground: Ground) -> str:
    async with ground.system() as running:
        head = "POST /v1/hl7 HTTP/1.1\r\nContent-Length: 999999999999"
        answer = await _raw(running, head, b"x" * 1000)
        refused(answer.startswith(b"HTTP/1.1 401 "), f"{answer[:20]!r}")
        head += "\r\nExpect: 100-continue"
        answer = await _raw(running, head)
        refused(b"100 Continue" not in answer, "the gateway asked for the body of somebody it does not know")
        chunk = b"fffff\r\n" + b"x" * 0xFFFFF + b"\r\n"
        answer = await _raw(running, "POST /v1/hl7 HTTP/1.1\r\nTransfer-Encoding: chunked", chunk * 3)
        refused(answer.startswith(b"HTTP/1.1 401 "), f"chunks without end: {answer[:20]!r}")
    return "401 and closed within a second, no 100 Continue"


async def _big_headers(ground: Ground) -> str:
    async with ground.system() as running:
        answer = await _raw(running, "GET /v1/births HTTP/1.1\r\nX-Long: " + "x" * _MIB)
        refused(not answer or answer[9:10] == b"4", f"{answer[:20]!r}")
        many = "GET /v1/births HTTP/1.1" + "".join(f"\r\nX-{n}: x" for n in range(10_000))
        answer = await _raw(running, many)
        refused(not answer or answer[9:10] == b"4", f"10,000 headers: {answer[:20]!r}")
    return "400"


# ------------------------------------------------------------------------------------------------ bodies of a token


def _bodies() -> dict[str, bytes]:
    return {
        "a list of 5 million empty objects": b'{"documents":[' + b"{}," * (5 * _MIB) + b"{}]}",
        "lists within lists": b'{"documents":' + b"[" * _DEEP + b"]" * _DEEP + b"}",
        "a million unknown fields": json.dumps({f"x{n}": n for n in range(_MIB // 2)}).encode(),
        "a number of a million digits": b'{"name":' + b"9" * _MIB + b"}",
        "NaN": b'{"consent":{"at":NaN}}',
        "a name that is told twice": b'{"name":"SITI","name":"BUDI"}',
        "2,000 wrong witnesses": b'{"witnesses":[' + b"1," * 1900 + b"1]}",
    }


async def _forms(ground: Ground) -> str:
    async with ground.system(require_form=False) as running:
        await running.send(sample("01"))
        birth = await running.until(_CONTROL_ID, "DELIVERED")
        token, json_type = running.facility[HOSPITAL], {"Content-Type": "application/json"}
        for name, body in _bodies().items():
            path = f"/v1/births/{birth['id']}/form"
            async with running.request(path, token=token, method="POST", data=body, headers=json_type) as answer:
                told = await answer.read()
                refused(answer.status in (413, 422), f"{name}: status {answer.status}")
                refused(len(told) < _ANSWER_BYTES, f"{name}: an answer of {len(told)} bytes")
                errors = json.loads(told).get("errors", ())
                refused(len(errors) <= 20, f"{name}: {len(errors)} errors")
    return "413 or 422 with 20 errors at most"


async def _office_and_search(ground: Ground) -> str:
    async with ground.system() as running:
        await running.send(sample("01"))
        birth = await running.until(_CONTROL_ID, "DELIVERED")
        database = running.gateway.context.database
        _, office = await tokens.new(database, label="attack", role="officer", office="all")
        merge = f"/v1/births/{birth['id']}/merge"
        paths = ("/v1/registry/leases", f"/v1/registry/records/{birth['id']}/outcome", "/v1/births/search", merge)
        for path in paths:
            for name, body in _bodies().items():
                wish: dict[str, Any] = {"method": "POST", "data": body, "headers": {"Content-Type": "application/json"}}
                async with running.request(path, token=office, **wish) as answer:
                    told = await answer.read()
                    refused(answer.status in (413, 422), f"{path}, {name}: status {answer.status}")
                    refused(len(told) < _ANSWER_BYTES, f"{path}, {name}: an answer of {len(told)} bytes")
    return "413 or 422 with a short answer"


# ------------------------------------------------------------------------------------------------------- sockets


async def _idle_sockets(ground: Ground) -> str:
    limits = {"limits": {"http_connections": 20, "http_connections_per_peer": 10, "read_s": 1}}
    async with ground.system(config=limits) as running:
        address = split_address(running.http.removeprefix("http://"))
        held = [await asyncio.open_connection(*address, local_addr=("127.0.0.9", 0)) for _ in range(200)]
        for _, writer in held[:5]:
            writer.write(b"GET /v1/births HTTP/1.1\r\nX-Slow: ")  # and never more
        async with running.request("/healthz") as answer:
            refused(answer.status == 200, "another address found no place")
        await _births_come_in(running, "1")
        async with asyncio.timeout(20):  # all are closed, since none brings a request
            for reader, _ in held:
                await reader.read()
        for _, writer in held:
            writer.close()
    return "10 let in and closed after limits.read_s, 190 turned away"


async def _slow_reader(ground: Ground) -> str:
    limits = {"limits": {"write_s": 1, "http_connections_per_peer": 10_000}}
    async with ground.system(config=limits) as running:
        _, writer = await asyncio.open_connection(*split_address(running.http.removeprefix("http://")), limit=1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
        async with asyncio.timeout(30):
            try:
                while True:
                    writer.write(request * 20)
                    await writer.drain()
                    await asyncio.sleep(0.05)
            except ConnectionError:
                pass
        writer.close()
        await _births_come_in(running, "1")
    return "cut after limits.write_s"


# ---------------------------------------------------------------------------------------------------------- rates


async def _wrong_tokens(ground: Ground) -> str:
    limits = {"limits": {"unauthorized_per_s_per_peer": 1, "burst_s": 5}}
    async with ground.system(config=limits) as running:
        async with running.request("/v1/births", token=running.operator) as answer:
            refused(answer.status == 200, "a good token is refused")
        statuses = []
        for number in range(12):
            async with running.request("/v1/births", token=f"procot_{number}") as answer:
                statuses.append(answer.status)
        refused(statuses.count(401) <= 6 and statuses[-1] == 429, f"statuses {statuses}")
        async with running.request("/v1/births", token=running.operator) as answer:
            refused(answer.status == 200, "a good token behind the same address was locked out")
    return "429 after a few, and a good token beside them goes on"


async def _one_token_asks_without_end(ground: Ground) -> str:
    limits = {"limits": {"requests_per_s_per_token": 1, "burst_s": 5}}
    async with ground.system(config=limits) as running:
        statuses = []
        for _ in range(12):
            async with running.request("/v1/births", token=running.facility[HOSPITAL]) as answer:
                statuses.append(answer.status)
        refused(statuses[-1] == 429, f"statuses {statuses}")
        async with running.request("/v1/births", token=running.officer) as answer:
            refused(answer.status == 200, "another token was refused with it")
    return "429 with Retry-After, others go on"


async def _one_facility_floods(ground: Ground) -> str:
    limits = {"limits": {"messages_per_s_per_facility": 1, "burst_s": 5}}
    async with ground.system(config=limits) as running:
        answers = [await running.send(notice(control_id=f"F{n}", record_number=f"F{n}")) for n in range(12)]
        refused(b"MSA|AR" in answers[-1] or b"MSA|CR" in answers[-1], f"{answers[-1]!r}")
        refused(b"RATE_LIMITED" in answers[-1], "the answer does not say why")
        answer = await running.send(sample("05"))  # of the clinic
        refused(b"MSA|AA" in answer or b"MSA|CA" in answer, "another facility was refused with it")
    return "AR 207 RATE_LIMITED, the other facility's births come in"


async def _one_peer_floods(ground: Ground) -> str:
    limits = {"limits": {"messages_per_s_per_peer": 20, "burst_s": 0.5}}
    async with ground.system(config=limits) as running:
        flood = b"".join(frame(notice(control_id=f"P{n}", record_number=f"P{n}")) for n in range(40))
        began = asyncio.get_running_loop().time()
        answers = await running.send_raw(flood, answers=40)
        took = asyncio.get_running_loop().time() - began
        refused(len(answers) == 40 and all(b"MSA|CA" in a or b"MSA|AA" in a for a in answers), "births were lost")
        refused(took > 1.2, f"40 messages of a peer that may send 20 a second in {took:.1f} s")
    return "read later, and every birth is answered"


async def _fill_quarantine(ground: Ground) -> str:
    limits = {"limits": {"quarantine_bytes": 300_000, "quarantine_bytes_per_peer": 200_000}}
    async with ground.system(config=limits) as running:
        garbage = b"MSH|^~\\&|X|NOBODY|||||ADT^A01|C%d|P|2.5\rZZZ|" + b"x" * 50_000 + b"\r"
        for number in range(12):
            answer = await running.send(garbage % number)
            refused(salvage_header(answer.decode()) is not None, "no answer")
        (row,) = await running.fetch("SELECT count(*) AS rows, sum(octet_length(raw)) AS bytes FROM quarantine")
        refused(0 < row["bytes"] <= 200_000, f"{row['bytes']} bytes of one peer in quarantine")
        await _births_come_in(running, "1")
    return "answered, and not kept beyond the peer's share"


# -------------------------------------------------------------------------------------------------- large messages


def _shapes(size: int) -> dict[str, Callable[[bytes], bytes]]:
    """Return messages that are slow to read, each made of a good notice."""
    name = notice().split(b"\rPID|")[1].split(b"|")[4].split(b"^")[0]
    return {
        "a name of titles": lambda m: m.replace(b"|" + name, b"|" + b"DR. " * (size // 4)),
        "nothing but escapes": lambda m: m + b"OBX|9|TX|1^x||" + b"\\F\\" * (size // 3) + b"\r",
        "blank lines": lambda m: m + b"\r" * size,
        "1,900 relatives": lambda m: m + (b"NK1|9" + (b"|" + b"A" * (size // 32_000)) * 16 + b"\r") * 1900,
    }


async def _large_messages(ground: Ground) -> str:
    async with ground.system(require_form=False) as running:
        for number, (name, shape) in enumerate(_shapes(_MIB).items(), 1):
            message = shape(notice(control_id=f"L{number}", record_number=f"L{number}"))
            large = asyncio.ensure_future(running.send(message, patience=120))
            await _births_come_in(running, str(number))  # beside it
            refused(b"MSA|" in await large, f"{name}: no answer")
            token, kind = running.facility[HOSPITAL], {"Content-Type": "application/hl7-v2"}
            options: dict[str, Any] = {"method": "POST", "data": message, "headers": kind}
            async with running.request("/v1/hl7/validate", token=token, **options) as answer:
                refused(answer.status == 200, f"{name}: the dry run said {answer.status}")
            await running.until(f"L{number}", *_JUDGED, patience=120)
        process = running.gateway.context.helper.pid
        refused(process not in (None, os.getpid()), "they were judged by the process that all wait for")
    return "judged and assigned by a process of its own"


ATTACKS = (
    Attack("D1", "a gzip bomb without a token", _gzip_bomb),
    Attack("D1", "a body of a terabyte without a token", _promised_body),
    Attack("D1", "headers without end", _big_headers),
    Attack("D2", "forms of millions of objects, deep, doubled, no numbers", _forms),
    Attack("D2", "the same to the office's routes, search and merge", _office_and_search),
    Attack("D3", "200 idle HTTP sockets of one address", _idle_sockets),
    Attack("D3", "a reader that takes no answer", _slow_reader),
    Attack("D4", "1 MB messages that are slow to read", _large_messages),
    Attack("D5", "wrong tokens one after another", _wrong_tokens),
    Attack("D5", "one token asks without end", _one_token_asks_without_end),
    Attack("D5", "one facility floods", _one_facility_floods),
    Attack("D5", "one address floods", _one_peer_floods),
    Attack("D5", "filling the quarantine", _fill_quarantine),
)
