"""The HTTP interface of a running gateway: who may see what, what is refused, and how it behaves without PostgreSQL."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from yarl import URL

from adapters.dukcapil.signature import sign_detached
from gateway.cli.demo_births import demo_births
from gateway.evidence.keys import b64url, thumbprint
from gateway.store import tokens
from gateway.store.embedded import EmbeddedPostgres
from tests.simulators.facilities import CLINIC, HOSPITAL, sample
from tests.simulators.people import persons_in
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp

    from tests.simulators.system import System

SINGLETON, CLINICS = sample("01"), sample("05")
SINGLETON_ID, CLINICS_ID = control_id_of(SINGLETON), control_id_of(CLINICS)


async def problem(response: aiohttp.ClientResponse, status: int) -> dict[str, Any]:
    """Return the problem that a response must be."""
    assert response.status == status, await response.text()
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = json.loads(await response.text())
    assert body["status"] == status
    return body


async def two_hospitals(running: System) -> tuple[dict[str, Any], dict[str, Any]]:
    """Send one birth of each facility and return them, once they came to rest."""
    await running.send(SINGLETON)
    await running.send(CLINICS)
    return await running.until(SINGLETON_ID, "DELIVERED"), await running.until(CLINICS_ID, "AWAIT_FORM")


# ---------------------------------------------------------------------------------------------- who may see what


async def test_a_facility_sees_its_own_births_and_office_and_operator_see_all(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        ours, theirs = await two_hospitals(running)
        for token, seen in (
            (running.facility[HOSPITAL], {ours["id"]}),
            (running.facility[CLINIC], {theirs["id"]}),
            (running.officer, {ours["id"], theirs["id"]}),
            (running.operator, {ours["id"], theirs["id"]}),
        ):
            page = await running.get("/v1/births", token=token)
            assert {item["id"] for item in page["items"]} == seen


async def test_another_facilitys_birth_does_not_exist_for_a_facility(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        ours, theirs = await two_hospitals(running)
        page = await running.get("/v1/births", token=running.facility[HOSPITAL], facility=CLINIC)
        assert page == {"items": [], "next": None}
        for end in ("", "/history", "/document"):
            path = f"/v1/births/{theirs['id']}{end}"
            async with running.request(path, token=running.facility[HOSPITAL]) as response:
                other = await problem(response, 404)
            async with running.request(f"/v1/births/{uuid4()}{end}", token=running.facility[HOSPITAL]) as response:
                assert await problem(response, 404) == other  # nothing tells that the one exists
        assert (await running.get(f"/v1/births/{ours['id']}", token=running.facility[HOSPITAL]))["mrn"] == ours["mrn"]


@pytest.mark.parametrize("end", ["", "?state=READY", "/1a0bafb9-42fc-4073-912e-2bdfea3a4023"])
async def test_no_valid_token_no_answer(database: str, tmp_path: Path, end: str) -> None:
    async with system(database, tmp_path) as running:
        expired = await running.new_token("operator", days=1)
        await running.fetch("UPDATE tokens SET expires_at = now() WHERE hash = $1", _hash(expired))
        revoked = await running.new_token("operator")
        for row in await running.fetch("SELECT id FROM tokens WHERE hash = $1", _hash(revoked)):
            assert await tokens.revoke(running.gateway.context.database, row["id"])
        for header in (
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer "},
            {"Authorization": f"Basic {running.operator}"},
            {"Authorization": running.operator},
            {"Authorization": f"Bearer {running.operator}x"},
            {"Authorization": f"Bearer {expired}"},
            {"Authorization": f"Bearer {revoked}"},
        ):
            async with running.request(f"/v1/births{end}", headers=header) as response:
                assert (await problem(response, 401))["code"] == "UNAUTHORIZED"
                assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_answers_about_births_are_not_to_be_kept_on_the_way(database: str, tmp_path: Path) -> None:
    async with (
        system(database, tmp_path) as running,
        running.request("/v1/births", token=running.operator) as response,
    ):
        assert response.headers["Cache-Control"] == "no-store"


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


# ------------------------------------------------------------------------------------------------- finding births


async def test_births_are_found_by_facility_control_id_record_number_state_and_time(
    database: str, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as running:
        ours, theirs = await two_hospitals(running)
        later = dt.datetime.fromisoformat(max(ours["updated_at"], theirs["updated_at"])) + dt.timedelta(seconds=1)
        for query, expected in (
            ({"facility": HOSPITAL}, [ours]),
            ({"control_id": CLINICS_ID}, [theirs]),
            ({"mrn": ours["mrn"]}, [ours]),
            ({"state": "DELIVERED"}, [ours]),
            ({"state": "DELIVERED", "facility": CLINIC}, []),
            ({"mrn": "no such record"}, []),
            ({"since": ours["received_at"], "facility": HOSPITAL}, [ours]),
            ({"since": later.isoformat()}, []),
            ({"since": later.astimezone(dt.timezone(dt.timedelta(hours=7))).isoformat().replace("+", " ")}, []),
        ):
            assert await running.births(**query) == expected, query


async def test_many_births_come_in_pages_each_once(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        sent = demo_births(23)
        for birth in sent:
            await running.send(birth.message)
        await running.until_count("DELIVERED", 23)
        pages: list[list[dict[str, Any]]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await running.get("/v1/births", limit="5", **cursor)
            pages.append(page["items"])
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
        items = [item for page in pages for item in page]
        assert len({item["id"] for item in items}) == 23
        assert [item["updated_at"] for item in items] == sorted(item["updated_at"] for item in items)
        assert len({item["certificate"]["number"] for item in items}) == 23


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("state=SLEEPING", "state"),
        ("since=yesterday", "since"),
        ("since=2026-11-24T09:00:00", "since: has no UTC offset"),
        ("limit=0", "limit"),
        ("limit=101", "limit: a whole number from 1 to 100"),
        ("limit=ten", "limit"),
        ("limit=%C2%B2", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=W10=", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        ("status=READY", "status: no such parameter"),
        ("state=READY&state=ISSUED", "state: given more than once"),
        ("facility=%00", "facility: holds a NUL"),
        ("cursor=%00", "cursor: holds a NUL"),
    ],
)
async def test_a_bad_parameter_is_named_with_what_it_takes(
    database: str, tmp_path: Path, query: str, named: str
) -> None:
    async with system(database, tmp_path) as running:
        async with running.request(f"/v1/births?{query}", token=running.operator) as response:
            body = await problem(response, 400)
        assert body["code"] == "QUERY"
        assert named in body["detail"]


async def test_bytes_that_are_no_text_find_nothing(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for query in ("facility=%FF%FE", "mrn=%ED%A0%80", "control_id=%F0%9F%91%B6"):
            address = URL(f"{running.http}/v1/births?{query}", encoded=True)
            headers = {"Authorization": f"Bearer {running.operator}"}
            async with running.session.get(address, headers=headers) as response:
                assert (response.status, await response.json()) == (200, {"items": [], "next": None})


async def test_history_tells_every_step_with_actor_reason_and_message(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await two_hospitals(running)
        events = await running.history(SINGLETON_ID)
        ways = [event["to"] for event in events if event["from"] != event["to"]]
        assert ways == ["RECEIVED", "READY", "SEALED", "SUBMITTED", "ISSUED", "DELIVERED"]
        assert events[0]["control_id"] == SINGLETON_ID
        assert events[0]["from"] is None
        assert all(event["actor"] and event["step"] and event["reason"] for event in events)
        assert [event["at"] for event in events] == sorted(event["at"] for event in events)
        assert not persons_in(json.dumps(events))


async def test_no_answer_about_a_birth_holds_a_name_or_a_parents_number(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await two_hospitals(running)
        for birth in await running.births():
            certificate = birth.pop("certificate") or {}
            assert not persons_in(json.dumps(birth))
            assert not persons_in(json.dumps({k: v for k, v in certificate.items() if k != "kk_number"}))


# ----------------------------------------------------------------------------------------------------- documents


async def test_the_document_is_the_registrys_pdf_with_its_digest(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        ours, _ = await two_hospitals(running)
        certificate = ours["certificate"]
        async with running.request(certificate["url"], token=running.facility[HOSPITAL]) as response:
            assert response.status == 200
            assert response.content_type == "application/pdf"
            body = await response.read()
            headers = response.headers
        digest = hashlib.sha256(body)
        assert body.startswith(b"%PDF-")
        assert digest.hexdigest() == certificate["sha256"]
        assert headers["Digest"] == f"sha-256={base64.b64encode(digest.digest()).decode()}"
        assert headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        assert headers["Content-Disposition"] == f'attachment; filename="{certificate["number"]}.pdf"'
        assert headers["Cache-Control"] == "no-store"


async def test_a_revoked_certificate_says_so_and_its_file_is_not_handed_out(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await running.send(SINGLETON)
        birth = await running.until(SINGLETON_ID, "DELIVERED")
        assert birth["certificate"]["revoked_at"] is None
        await running.fetch("UPDATE certificates SET revoked_at = now() RETURNING birth_id")
        assert (await running.birth(SINGLETON_ID))["certificate"]["revoked_at"]
        path = f"/v1/births/{birth['id']}/document"
        async with running.request(path, token=running.facility[HOSPITAL]) as response:
            assert (await problem(response, 410))["code"] == "CERTIFICATE_REVOKED"


async def test_there_is_no_document_before_the_certificate(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        _, theirs = await two_hospitals(running)
        async with running.request(f"/v1/births/{theirs['id']}/document", token=running.operator) as response:
            body = await problem(response, 409)
        assert body["code"] == "NO_CERTIFICATE"
        assert "AWAIT_FORM" in body["detail"]


async def test_fetching_it_is_the_delivery_for_a_facility_without_a_listener(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path, without_listener=(HOSPITAL,)) as running:
        await running.send(SINGLETON)
        birth = await running.until(SINGLETON_ID, "ISSUED")
        path = f"/v1/births/{birth['id']}/document"

        async def collected() -> bool:
            async with running.request(path, token=running.officer) as response:
                return response.status == 200

        await running.until_true(collected, "the document in the store")
        async with running.request(path, token=running.facility[HOSPITAL], method="HEAD") as response:
            assert response.status == 405
        assert (await running.birth(SINGLETON_ID))["state"] == "ISSUED"  # neither office nor HEAD is the delivery
        for _ in range(2):
            async with running.request(path, token=running.facility[HOSPITAL]) as response:
                assert response.status == 200
        assert (await running.birth(SINGLETON_ID))["state"] == "DELIVERED"
        events = await running.history(SINGLETON_ID)
        deliveries = [event for event in events if event["to"] == "DELIVERED"]
        assert len(deliveries) == 1
        assert deliveries[0]["actor"].startswith("facility:")
        assert running.letters() == []


# ----------------------------------------------------------------------------------------------------- callbacks

CALLBACK = "/v1/registry/callbacks/dukcapil"


def last_callback(directory: Path) -> bytes:
    """Return the body of the newest callback that the registry wrote."""
    with sqlite3.connect(directory / "registry" / "registry.sqlite3") as records:
        (body,) = records.execute("SELECT body FROM callbacks ORDER BY id DESC LIMIT 1").fetchone()
    records.close()
    return bytes(body)


def signed(running: System, body: bytes, *, at: dt.datetime | None = None) -> dict[str, str]:
    """Return the headers with which the registry would send `body`."""
    now = (at or dt.datetime.now(dt.UTC)).replace(microsecond=0)
    registry = running.registry
    signature = sign_detached(body, key=registry._key, kid=registry._kid, issued_at=int(now.timestamp()))
    return {"X-Waktu": now.isoformat().replace("+00:00", "Z"), "X-Tanda-Tangan": signature}


async def test_a_callback_without_a_right_signature_changes_nothing(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await running.send(SINGLETON)
        await running.until(SINGLETON_ID, "DELIVERED")
        body = last_callback(tmp_path)
        before = await running.history(SINGLETON_ID)
        right = signed(running, body)
        for headers, content in (
            ({}, body),
            ({**right, "X-Tanda-Tangan": "e30..AAAA"}, body),
            (right, body.replace(b'"TERBIT"', b'"DITOLAK"')),
            ({"X-Waktu": right["X-Waktu"]}, body),
            (signed(running, body, at=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)), body),
        ):
            async with running.request(CALLBACK, method="POST", headers=headers, data=content) as response:
                assert (await problem(response, 401))["code"] == "SIGNATURE"
        assert await running.history(SINGLETON_ID) == before


async def test_the_same_callback_again_is_taken_and_changes_nothing(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await running.send(SINGLETON)
        delivered = await running.until(SINGLETON_ID, "DELIVERED")
        body = last_callback(tmp_path)
        before = await running.history(SINGLETON_ID)
        for _ in range(3):
            headers = signed(running, body)
            async with running.request(CALLBACK, method="POST", headers=headers, data=body) as response:
                assert response.status == 204
        assert await running.history(SINGLETON_ID) == before
        assert await running.birth(SINGLETON_ID) == delivered
        assert len(running.letters()) == 2


async def test_a_callback_finishes_a_birth_that_no_poll_would_find_for_long(database: str, tmp_path: Path) -> None:
    slow = {"registry": {"poll_first_s": 600, "poll_max_s": 600}}
    async with system(database, tmp_path, work_seconds=0.2, config=slow) as running:
        await running.send(SINGLETON)
        await running.until(SINGLETON_ID, "DELIVERED", patience=20)
        steps = [(event["step"], event["to"]) for event in await running.history(SINGLETON_ID)]
        assert ("callback", "ISSUED") in steps


async def test_callbacks_for_other_registries_or_unknown_births_are_not_found(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await running.send(SINGLETON)
        birth = await running.until(SINGLETON_ID, "DELIVERED")
        body = last_callback(tmp_path)
        elsewhere = CALLBACK.replace("dukcapil", "elsewhere")
        async with running.request(elsewhere, method="POST", headers=signed(running, body), data=body) as response:
            assert (await problem(response, 404))["code"] == "NOT_FOUND"
        for other_id in (str(uuid4()), "not-an-id"):
            other = body.replace(birth["id"].encode(), other_id.encode())
            assert other != body
            headers = signed(running, other)
            async with running.request(CALLBACK, method="POST", headers=headers, data=other) as response:
                await problem(response, 404)


async def test_a_signed_callback_that_is_not_the_contracts_is_unprocessable(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for body in (b"{}", b"[]", b"not json"):
            headers = signed(running, body)
            async with running.request(CALLBACK, method="POST", headers=headers, data=body) as response:
                assert (await problem(response, 422))["code"] == "REGISTRY_PROTOCOL"


async def test_a_body_beyond_the_cap_is_refused(database: str, tmp_path: Path) -> None:
    async with (
        system(database, tmp_path, config={"limits": {"http_body_bytes": 2048}}) as running,
        running.request(CALLBACK, method="POST", data=b" " * 4096) as response,
    ):
        assert "limits.http_body_bytes" in (await problem(response, 413))["detail"]


# ------------------------------------------------------------------------------------------------------ operation


async def test_unknown_paths_and_methods_are_problems_too(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        async with running.request("/v1/deaths", token=running.operator) as response:
            assert (await problem(response, 404))["code"] == "NOT_FOUND"
        async with running.request("/v1/births", token=running.operator, method="DELETE") as response:
            assert (await problem(response, 405))["code"] == "METHOD_NOT_ALLOWED"
            assert response.headers["Allow"] == "GET,HEAD"


async def test_without_postgresql_it_is_alive_and_not_ready_and_recovers_by_itself(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "server")
    dsn = await server.start()
    try:
        async with system(dsn, tmp_path / "system-files", config={"database": {"timeout_s": 2}}) as running:
            assert (await running.get("/readyz"))["status"] == "ready"
            await server.stop()
            async with running.request("/readyz") as response:
                assert response.status == 503
                assert (await response.json())["reasons"] == ["PostgreSQL does not take writes"]
            async with running.request("/healthz") as response:
                assert response.status == 200
            async with running.request("/metrics") as response:
                assert response.status == 200
            async with running.request("/v1/births", token=running.operator) as response:
                assert (await problem(response, 503))["code"] == "STORE_UNAVAILABLE"
                assert response.headers["Retry-After"] == "5"
            assert await server.start() == dsn
            assert (await running.get("/readyz")) == {"status": "ready", "reasons": [], "notices": []}
            await running.send(SINGLETON)
            await running.until(SINGLETON_ID, "DELIVERED")
    finally:
        await server.stop()


async def test_metrics_count_the_journey_and_know_nobody(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for name in ("01", "05", "06", "09", "11"):
            await running.send(sample(name))
        birth = await running.until(SINGLETON_ID, "DELIVERED")
        await running.get(f"/v1/births/{birth['id']}")
        async with running.request("/metrics") as response:
            assert response.content_type == "text/plain"
            text = await response.text()
        for line in (
            'procot_messages_total{code="AA",effect="open",transport="mllp"}',
            'procot_births_moved_total{state="DELIVERED"} 1.0',
            "procot_journey_seconds_count 1.0",
            'procot_callbacks_total{outcome="applied"}',
            'procot_http_requests_total{route="/v1/births/{id}",status="200"} 1.0',
            'procot_open_tasks{kind="submit"} 0.0',
        ):
            assert line in text
        certificate = birth["certificate"]
        told = (birth["id"], birth["mrn"], SINGLETON_ID, certificate["number"], certificate["child_nik"])
        assert not persons_in(text)
        assert not [value for value in told if value in text]


async def test_the_published_keys_are_those_that_sign_and_public_halves_only(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        await running.send(SINGLETON)
        birth = await running.until(SINGLETON_ID, "DELIVERED")
        async with running.request("/.well-known/jwks.json") as response:
            assert response.headers["Cache-Control"] == "max-age=60"
            keys = (await response.json())["keys"]
        assert all(set(key) == {"kty", "crv", "x", "kid", "use", "alg"} for key in keys)
        (signing,) = running.gateway.keyring.keys
        assert [(key["kid"], key["x"]) for key in keys] == [(thumbprint(signing.public), b64url(signing.public))]
        (seal,) = await running.fetch("SELECT key_id FROM seals WHERE birth_id = $1", UUID(birth["id"]))
        assert seal["key_id"] == keys[0]["kid"]


async def test_a_path_answers_to_its_own_methods_alone(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for path, allowed in (("/v1/births/search", "POST"), ("/v1/births/stream", "GET"), ("/v1/hl7", "POST")):
            method = "GET" if allowed == "POST" else "POST"
            async with running.request(path, method=method, token=running.operator) as response:
                assert response.status == 405, path
                assert response.headers["Allow"].replace("GET,HEAD", "GET") == allowed
