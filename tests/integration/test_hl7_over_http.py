"""HL7 over HTTP against a running gateway: the same verdict as over MLLP, and an envelope that forgives and refuses."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from gateway.app import split_address
from tests.simulators.facilities import CLINIC, HOSPITAL, sample
from tests.simulators.journey import RENAMED, notice
from tests.simulators.system import FACILITIES, control_id_of, system

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.simulators.system import System

ER7 = "application/hl7-v2"
TYPES = (ER7, "application/hl7-v2+er7", "x-application/hl7-v2+er7", "text/plain")
SILENT = (("|AL|AL|", "|NE|NE|"),)


async def post(
    running: System, body: bytes, *, token: str | None = None, kind: str = ER7, path: str = "/v1/hl7", **options: Any
) -> tuple[int, str, bytes]:
    """Return status, content type and body of a POST; by the operator unless a token is given."""
    headers = {"Content-Type": kind, **options.pop("headers", {})}
    token = running.operator if token is None else token
    async with running.request(path, method="POST", token=token, headers=headers, data=body, **options) as response:
        return response.status, response.headers["Content-Type"], await response.read()


async def problem(running: System, status: int, body: bytes = b"MSH|", **options: Any) -> dict[str, Any]:
    """Return the problem that the answer must be."""
    got, kind, said = await post(running, body, **options)
    assert (got, kind.partition(";")[0]) == (status, "application/problem+json"), said
    found: dict[str, Any] = json.loads(said)
    return found


async def raw_request(running: System, head: bytes, body: bytes = b"") -> bytes:
    """Write a request by hand and return all that comes."""
    reader, writer = await asyncio.open_connection(*split_address(running.http.removeprefix("http://")))
    lines = (b"POST /v1/hl7 HTTP/1.1", b"Host: x", b"Authorization: Bearer " + running.operator.encode(), head, b"")
    writer.write(b"\r\n".join((*lines, body)))
    async with asyncio.timeout(60):
        said = await reader.read(65536)
    writer.close()
    return said


def code(answer: bytes) -> str:
    """Return MSA-1."""
    found = re.search(rb"\rMSA.(\w\w)", answer)
    assert found is not None, answer
    return found[1].decode()


def without_time_and_id(answer: bytes) -> bytes:
    """Return an answer without its own MSH-7 and MSH-10, which differ from one to the next."""
    msh, _, rest = answer.partition(b"\r")
    fields = msh.split(msh[3:4])
    fields[6] = fields[9] = b""
    return b"|".join(fields) + rest


# ------------------------------------------------------------------------------------------- the same as over MLLP


@pytest.mark.parametrize("name", ["01", "04", "05", "06", "09", "10", "11", "12"])
async def test_a_verdict_is_byte_for_byte_that_of_mllp(database: str, tmp_path: Path, name: str) -> None:
    raw = sample(name)
    ours = control_id_of(raw)
    other = f"H{ours[1:]}"
    async with system(database, tmp_path) as running:
        over_mllp = await running.send(raw)
        status, _, over_http = await post(running, raw.replace(ours.encode(), other.encode()))
    assert status == 200
    assert without_time_and_id(over_http.replace(other.encode(), ours.encode())) == without_time_and_id(over_mllp)


async def test_a_repeat_over_the_other_transport_gets_the_stored_bytes(database: str, tmp_path: Path) -> None:
    first, second = notice(), notice(record_number="00450122")
    async with system(database, tmp_path) as running:
        over_mllp = await running.send(first)
        assert (await post(running, first))[2] == over_mllp
        over_http = (await post(running, second))[2]
        assert await running.send(second) == over_http


async def test_a_birth_sent_over_http_reaches_its_certificate(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        assert code((await post(running, sample("01"), token=running.facility[HOSPITAL]))[2]) == "CA"
        await running.until(control_id_of(sample("01")), "DELIVERED")
        async with running.request("/metrics") as response:
            assert 'procot_messages_total{code="CA",effect="open",transport="http"} 1.0' in await response.text()


async def test_what_cannot_be_read_is_ar_and_lies_in_quarantine(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        status, _, answer = await post(running, b"this is no HL7")
        assert (status, code(answer)) == (200, "AR")
        (row,) = await running.fetch("SELECT reason, raw FROM quarantine")
        assert tuple(row) == ("MSH_UNREADABLE", b"this is no HL7")


async def test_a_sender_that_wants_no_answer_gets_ca_over_http(database: str, tmp_path: Path) -> None:
    raw = notice(changes=SILENT)
    async with system(database, tmp_path) as running:
        for _ in range(2):  # its repeat as well
            status, _, answer = await post(running, raw)
            assert (status, code(answer)) == (200, "CA")
            assert b"\rERR" not in answer
        (row,) = await running.fetch("SELECT answer FROM messages")
        assert row["answer"] == b""


async def test_a_silent_sender_whose_message_is_rejected_is_told_so(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        _, _, answer = await post(running, notice(changes=(*SILENT, ("ADT^A01", "ADT^Q99"))))
        assert code(answer) == "CR"
        assert b"EVENT_UNSUPPORTED" in answer


async def test_two_answers_on_one_connection_come_in_one_body(database: str, tmp_path: Path) -> None:
    raw = notice()
    async with system(database, tmp_path, application_answer="same_connection") as running:
        _, _, body = await post(running, raw)
        assert re.findall(rb"MSA\|(\w\w)", body) == [b"CA", b"AA"]
        assert b"".join(await running.send_for_two(raw)) == body


# ------------------------------------------------------------------------------------------------------ who may send


async def test_a_facilitys_token_sends_for_its_own_msh_4_only(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        status, kind, answer = await post(running, sample("01"), token=running.facility[CLINIC])
        assert (status, kind, code(answer)) == (403, ER7, "CR")
        assert b"FACILITY_NOT_ALLOWED" in answer
        assert control_id_of(sample("01")).encode() in answer
        assert [tuple(r) for r in await running.fetch("SELECT id FROM messages UNION SELECT id FROM quarantine")] == []


@pytest.mark.parametrize(
    ("wrapped", "status"),
    [
        (b"\r\n  %s", 403),
        (b"NTE|1\r%s", 403),
        (b"MSH|^~\\&|A|" + CLINIC.encode() + b"\r%s", 400),
        (b"FHS|^~\\&\rBHS|^~\\&\r%sBTS|1\rFTS|1\r", 400),
    ],
    ids=["blank lines", "another segment", "behind its own", "batch"],
)
async def test_another_facilitys_message_does_not_come_in_wrapped(
    database: str, tmp_path: Path, wrapped: bytes, status: int
) -> None:
    async with system(database, tmp_path) as running:
        assert (await post(running, wrapped % sample("01"), token=running.facility[CLINIC]))[0] == status
        assert await running.fetch("SELECT FROM messages") == []


async def test_a_message_that_names_no_facility_is_judged_and_kept_for_a_person(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        status, _, answer = await post(running, b"MSH|garbage", token=running.facility[HOSPITAL])
        assert (status, code(answer)) == (200, "AR")
        assert len(await running.fetch("SELECT FROM quarantine")) == 1


async def test_an_operators_token_sends_for_any_facility_and_an_officers_for_none(
    database: str, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as running:
        for name in ("01", "05"):
            assert (await post(running, sample(name)))[0] == 200
        assert (await problem(running, 403, sample("01"), token=running.officer))["code"] == "FORBIDDEN"


async def test_the_token_stands_for_the_certificate_of_a_facility_that_must_show_one(
    database: str, tmp_path: Path
) -> None:
    facilities = [{**FACILITIES[0], "certificates": ["rsu.example"]}, FACILITIES[1]]
    async with system(database, tmp_path, facilities=facilities) as running:
        assert code(await running.send(sample("01"))) == "CR"
        assert code((await post(running, sample("01"), token=running.facility[HOSPITAL]))[2]) == "CA"


async def test_a_facilitys_networks_hold_over_http_too(database: str, tmp_path: Path) -> None:
    facilities = [{**FACILITIES[0], "peers": ["10.0.0.0/8"]}]
    async with system(database, tmp_path, facilities=facilities) as running:
        _, _, answer = await post(running, sample("01"), token=running.facility[HOSPITAL])
        assert b"FACILITY_NOT_ALLOWED" in answer


async def test_without_a_token_nothing_is_said(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for path in ("/v1/hl7", "/v1/hl7/validate"):
            assert (await problem(running, 401, sample("01"), token="", path=path))["code"] == "UNAUTHORIZED"


# ------------------------------------------------------------------------------------------------------- the envelope


@pytest.mark.parametrize("kind", [*TYPES, *(f"{kind}; charset=UTF-8" for kind in TYPES)])
async def test_every_content_type_of_hl7_is_taken_and_answered_in_itself(
    database: str, tmp_path: Path, kind: str
) -> None:
    async with system(database, tmp_path) as running:
        status, answered, answer = await post(running, sample("01"), kind=kind)
        assert (status, answered, code(answer)) == (200, kind, "CA")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("application/hl7-v2+xml", "as XML is not taken"),
        ("application/json", "not a content type of HL7"),
        ("", "not a content type of HL7"),
        ("application/hl7-v2; charset=klingon", "charset"),
        ("application/hl7-v2; charset=rot13", "charset"),
    ],
)
async def test_another_content_type_is_told_what_is_taken(
    database: str, tmp_path: Path, kind: str, reason: str
) -> None:
    async with system(database, tmp_path) as running:
        assert reason in (await problem(running, 415, sample("01"), kind=kind))["detail"]


async def test_the_charset_of_the_request_wins_over_msh_18(database: str, tmp_path: Path) -> None:
    raw = notice(changes=(("AHMAD RIZKI", "AHMAD RIÑKI"), ("UNICODE UTF-8", "8859/2")))
    async with system(database, tmp_path) as running:
        await post(running, raw.decode().encode("iso-8859-1"), kind=f"{ER7}; charset=iso-8859-1")
        await running.until_true(lambda: running.fetch("SELECT FROM births"), "a birth")
        (row,) = await running.fetch("SELECT record FROM births")
    assert "RIÑKI" in json.dumps(row["record"], ensure_ascii=False)  # by 8859/2 it would be RIŃKI


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 100):
        yield body[at : at + 100]


async def test_a_chunked_body_is_taken(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        headers = {"Content-Type": ER7}
        body = chunks(sample("01"))
        async with running.request(
            "/v1/hl7", method="POST", token=running.operator, headers=headers, data=body
        ) as response:
            assert (response.status, code(await response.read())) == (200, "CA")


async def test_a_body_of_unknown_length_is_refused(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        said = await raw_request(running, b"Content-Type: application/hl7-v2\r\n")
        assert said.startswith(b"HTTP/1.1 411 ")
        assert b"chunked" in said


async def test_an_empty_body_is_refused(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for body in (b"", b"\r\n"):
            assert (await problem(running, 400, body))["code"] == "EMPTY"


async def test_several_messages_are_refused_whole(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        assert (await problem(running, 400, notice() + notice()))["code"] == "SEVERAL_MESSAGES"
        assert await running.fetch("SELECT FROM messages") == []


async def test_a_body_beyond_the_cap_is_refused_told_or_chunked(database: str, tmp_path: Path) -> None:
    large = sample("01") + b"NTE|1||" + b"X" * 4096
    async with system(database, tmp_path, config={"limits": {"http_body_bytes": 2048}}) as running:
        assert "limits.http_body_bytes" in (await problem(running, 413, large))["detail"]
        headers, body = {"Content-Type": ER7}, chunks(large)
        async with running.request(
            "/v1/hl7", method="POST", token=running.operator, headers=headers, data=body
        ) as response:
            assert response.status == 413


async def test_a_body_that_does_not_end_is_given_up(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, config={"limits": {"read_s": 0.2}}) as running:
        said = await raw_request(running, b"Content-Type: text/plain\r\nContent-Length: 500\r\n", b"MSH|^~\\&|")
        assert said.startswith(b"HTTP/1.1 408 ")


async def test_another_method_is_refused(database: str, tmp_path: Path) -> None:
    async with (
        system(database, tmp_path) as running,
        running.request("/v1/hl7", token=running.operator) as response,
    ):
        assert (response.status, response.headers["Allow"]) == (405, "POST")


async def test_a_gateway_that_stops_sends_senders_away(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        running.gateway._begin_drain()
        status, _, body = await post(running, sample("01"))
        assert (status, json.loads(body)["code"]) == (503, "NOT_READY")


# ------------------------------------------------------------------------------------------------------------- status


@pytest.mark.parametrize(("policy", "statuses"), [("always200", (200, 200, 200, 200)), ("hapi", (200, 200, 500, 400))])
async def test_the_status_follows_the_setting(
    database: str, tmp_path: Path, policy: str, statuses: tuple[int, ...]
) -> None:
    original = (("|AL|AL|", "|||"),)
    messages = (
        sample("01"),  # CA
        notice(changes=original, record_number="1"),  # AA
        sample("10").replace(b"|AL|AL|", b"|||"),  # AE
        notice(changes=(*original, ("|2.5|", "|3.0|")), record_number="3"),  # AR
    )
    async with system(database, tmp_path, config={"http": {"ack_status": policy}}) as running:
        answers = [await post(running, message) for message in messages]
    assert [code(body) for _, _, body in answers] == ["CA", "AA", "AE", "AR"]
    assert tuple(status for status, _, _ in answers) == statuses


# ------------------------------------------------------------------------------------------------------------- dry run


async def test_a_dry_run_says_what_would_be_answered_and_keeps_nothing(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        status, kind, body = await post(
            running, sample("09"), path="/v1/hl7/validate", token=running.facility[HOSPITAL]
        )
        assert (status, kind) == (200, "application/json; charset=utf-8")
        report = json.loads(body)
        assert [report[key] for key in ("code", "result", "effect", "facility", "event", "assumed")] == [
            "CA", "AE", "open", HOSPITAL, "ADT^A01", None,
        ]  # fmt: skip
        wrong = next(f for f in report["findings"] if f["code"] == "MOTHER_NIK_LENGTH")
        assert (wrong["severity"], wrong["label"], wrong["text"]) == ("E", "PID-21", wrong["pesan"])
        assert await running.fetch("SELECT FROM messages UNION ALL SELECT FROM quarantine") == []
        over_mllp = (await running.send(sample("09"))).decode()
        assert without_time_and_id(report["answer"].encode()) == without_time_and_id(over_mllp.encode())


async def test_a_dry_run_speaks_the_language_asked_for(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for language, key in (("en", "message"), ("id", "pesan")):
            _, _, body = await post(running, sample("09"), path="/v1/hl7/validate", params={"lang": language})
            assert all(f["text"] == f[key] for f in json.loads(body)["findings"])
        assert (await problem(running, 400, sample("09"), path="/v1/hl7/validate", params={"lang": "jv"}))[
            "code"
        ] == "QUERY"


async def test_a_dry_run_judges_an_update_as_for_a_known_birth_and_says_so(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        _, _, body = await post(running, notice("A31", changes=RENAMED), path="/v1/hl7/validate")
        report = json.loads(body)
        assert (report["effect"], report["assumed"], report["result"]) == ("amend", "known_birth", "AA")


async def test_a_dry_run_is_for_ones_own_messages_only(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        refusal = await problem(running, 403, sample("01"), path="/v1/hl7/validate", token=running.facility[CLINIC])
        assert refusal["code"] == "FACILITY_NOT_ALLOWED"
