"""schemas/openapi.json is valid, complete, and what a running gateway really answers."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
from importlib import resources
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from gateway.config import Config
from gateway.contract.finding import Finding, catalogue
from gateway.contract.form import Form
from gateway.contract.lifecycle import State
from gateway.contract.missing import ITEMS
from gateway.observe.metrics import Metrics
from gateway.store import tokens
from gateway.web.office import LeaseRequest, OutcomeRequest
from gateway.web.search import Search
from gateway.web.server import application
from tests.simulators.facilities import HOSPITAL, sample
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp

    from gateway.pipeline.context import Context
    from gateway.pipeline.intake import Intake
    from gateway.pipeline.rehearsal import Rehearsal

SPEC: dict[str, Any] = json.loads(resources.files("schemas").joinpath("openapi.json").read_text("utf-8"))
formats = FormatChecker(("uuid", "date"))


@formats.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or dt.datetime.fromisoformat(value).tzinfo is not None


def _closed(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas with every object closed, so that an undocumented member shows."""
    made = copy.deepcopy(schemas)
    for schema in made.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return made


COMPONENTS = {**SPEC["components"], "schemas": _closed(SPEC["components"]["schemas"])}


def resolved(value: dict[str, Any]) -> dict[str, Any]:
    """Follow one $ref within the document."""
    if "$ref" not in value:
        return value
    found: Any = SPEC
    for step in value["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return cast("dict[str, Any]", found)


def fits(schema: dict[str, Any], value: object) -> None:
    Draft202012Validator({**schema, "components": COMPONENTS}, format_checker=formats).validate(value)


async def conforms(response: aiohttp.ClientResponse, path: str, method: str = "get") -> None:
    """Check status, content type, body and headers of a response against the document."""
    documented = SPEC["paths"][path][method]["responses"]
    assert str(response.status) in documented, f"{path} may not answer {response.status}"
    described = resolved(documented[str(response.status)])
    content = described.get("content", {})
    if content:
        assert response.content_type in content
        schema = content[response.content_type].get("schema")
        if response.content_type.endswith("json"):
            fits(schema, json.loads(await response.text()))
    else:
        assert await response.read() == b""
    for name, header in described.get("headers", {}).items():
        fits(resolved(header)["schema"], response.headers.get(name))


def test_the_document_is_valid_openapi() -> None:
    assert SPEC["openapi"].startswith("3.1")
    validate(SPEC)


def test_every_route_is_documented_and_every_documented_call_is_served() -> None:
    context = cast("Context", SimpleNamespace(config=Config(), database=None, metrics=Metrics()))
    intake, rehearsal = cast("Intake", None), cast("Rehearsal", None)
    served = {
        (route.method, route.resource.canonical)
        for route in application(context, intake=intake, rehearsal=rehearsal, ready=str).router.routes()
        if route.resource and route.method != "HEAD"
    }
    documented = {
        (method.upper(), path)
        for path, item in SPEC["paths"].items()
        for method in item
        if method in ("get", "post", "put", "patch", "delete")
    }
    assert served == documented


def test_states_and_findings_in_the_document_are_those_of_the_program() -> None:
    assert SPEC["components"]["schemas"]["State"]["enum"] == [state.value for state in State]
    for code in catalogue():
        fits({"$ref": "#/components/schemas/Issue"}, Finding(code).as_dict())


def test_the_query_parameters_of_the_list_are_those_the_program_takes() -> None:
    from gateway.web.births import _QUERY  # noqa: PLC0415 - a private name, for this comparison only

    assert {parameter["name"] for parameter in SPEC["paths"]["/v1/births"]["get"]["parameters"]} == _QUERY


async def test_what_a_running_gateway_answers_is_what_the_document_says(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for name in ("01", "02", "03", "04", "06", "09", "12"):
            await running.send(sample(name))
        await running.until(control_id_of(sample("01")), "DELIVERED")
        await running.until(control_id_of(sample("12")), "LAHIR_MATI")
        await running.until(control_id_of(sample("09")), "HOLD_DATA")
        births = await running.births()
        assert len(births) == 7
        token = running.operator
        async with running.request("/v1/births", token=token, params={"limit": "2"}) as response:
            assert (await response.json())["next"]
            await conforms(response, "/v1/births")
        async with running.request("/v1/births", token=token, params={"since": "yesterday"}) as response:
            assert response.status == 400
            await conforms(response, "/v1/births")
        for birth in births:
            for end in ("", "/history", "/document", "/revisions", "/diff"):
                async with running.request(f"/v1/births/{birth['id']}{end}", token=token) as response:
                    assert response.status in ((200, 409) if end == "/document" else (200,))
                    await conforms(response, f"/v1/births/{{id}}{end}")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/births/{id}", "/v1/births/{id}/history", "/v1/births/{id}/document", "/v1/births/{id}/revisions",
        "/v1/births/{id}/diff",
    ],
)  # fmt: skip
async def test_refusals_are_the_documented_problems(database: str, tmp_path: Path, path: str) -> None:
    async with system(database, tmp_path) as running:
        for birth_id in (str(uuid4()), "not-an-id"):
            for token in (running.facility[HOSPITAL], running.operator):
                async with running.request(path.format(id=birth_id), token=token) as response:
                    assert response.status == 404
                    await conforms(response, path)
            async with running.request(path.format(id=birth_id), token="unknown") as response:
                assert response.status == 401
                await conforms(response, path)


async def test_searches_are_answered_as_documented(database: str, tmp_path: Path) -> None:
    path = "/v1/births/search"
    async with system(database, tmp_path) as running:
        await running.send(sample("01"))
        await running.until(control_id_of(sample("01")), "DELIVERED")
        for body, status in (
            ({"control_id": control_id_of(sample("01"))}, 200),
            ({"mother_name": "SITI"}, 200),
            ({"mother_born_on": "soon"}, 422),
            ({}, 422),
            ({"mrn": "1", "cursor": "x"}, 400),
        ):
            async with running.request(path, method="POST", token=running.operator, json=body) as response:
                assert response.status == status
                await conforms(response, path, "post")
        async with running.request(path, method="POST", token=running.operator, data=b"{}") as response:
            assert response.status == 415
            await conforms(response, path, "post")
        async with running.request(path, method="POST", token="unknown", json={"mrn": "1"}) as response:
            assert response.status == 401


async def test_messages_over_http_are_answered_as_documented(database: str, tmp_path: Path) -> None:
    kinds = {"Content-Type": "application/hl7-v2"}
    async with system(database, tmp_path) as running:
        for path in ("/v1/hl7", "/v1/hl7/validate"):
            for token, headers, body, status in (
                (running.facility[HOSPITAL], kinds, sample("01"), 200),
                (running.facility[HOSPITAL], kinds, sample("09"), 200),
                (running.operator, kinds, sample("12"), 200),
                (running.operator, kinds, b"no HL7", 200),
                (running.facility[HOSPITAL], kinds, sample("05"), 403),
                (running.officer, kinds, sample("01"), 403),
                (running.operator, kinds, b"", 400),
                (running.operator, {"Content-Type": "application/json"}, b"{}", 415),
                ("unknown", kinds, sample("01"), 401),
            ):
                async with running.request(path, method="POST", token=token, headers=headers, data=body) as response:
                    assert response.status == status
                    await conforms(response, path, "post")


async def test_the_calls_without_a_token_answer_as_documented(database: str, tmp_path: Path) -> None:
    async with system(database, tmp_path) as running:
        for path in ("/healthz", "/readyz", "/metrics", "/.well-known/jwks.json"):
            async with running.request(path) as response:
                assert response.status == 200
                await conforms(response, path)
        for registry, status in (("dukcapil", 401), ("elsewhere", 404)):
            address = f"/v1/registry/callbacks/{registry}"
            async with running.request(address, method="POST", json={}) as response:
                assert response.status == status
                await conforms(response, "/v1/registry/callbacks/{registry}", "post")


def test_the_bodies_in_the_document_are_those_the_program_reads() -> None:
    for model in (Form, LeaseRequest, OutcomeRequest, Search):
        made = model.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = made.pop("$defs", {})
        for name, schema in {**parts, model.__name__: made}.items():
            assert SPEC["components"]["schemas"][name] == schema, name
    assert SPEC["components"]["schemas"]["MissingItem"]["properties"]["item"]["enum"] == list(ITEMS)


async def test_form_leases_and_outcomes_answer_as_documented(database: str, tmp_path: Path) -> None:
    message = sample("01")
    form = "/v1/births/{id}/form"
    leases, outcome = "/v1/registry/leases", "/v1/registry/records/{id}/outcome"
    async with system(database, tmp_path, config={"registry": {"way": "lease"}}) as running:
        await running.send(message)
        birth = await running.until(control_id_of(message), "AWAIT_OFFICE")
        _, officer = await tokens.new(running.gateway.context.database, label="o", role="officer", office="3510")
        ward = running.facility[HOSPITAL]
        scan = {"kind": "CONSENT", "content": base64.b64encode(b"%PDF-1.7").decode()}

        async def post(path: str, token: str, body: object, status: int) -> Any:
            options = {"method": "POST", "token": token, "json": body}
            async with running.request(path.format(id=birth["id"]), **options) as response:  # type: ignore[arg-type]
                assert response.status == status, await response.text()
                await conforms(response, path, "post")
                return json.loads(await response.text())

        await post(form, ward, {"documents": [scan], "consent": {"given": True}}, 200)
        await post(form, ward, {"name": 1}, 422)
        await post(form, running.operator, {}, 403)
        await running.until(control_id_of(message), "AWAIT_OFFICE")
        await post(leases, ward, {}, 403)
        await post(leases, running.officer, {}, 403)
        await post(leases, officer, {"count": 0}, 422)
        (item,) = (await post(leases, officer, {}, 200))["items"]
        fetch = "/v1/registry/records/{id}/documents/{sha256}"
        async with running.request(item["documents"][0]["url"], token=officer) as response:
            assert await response.read() == b"%PDF-1.7"
            assert response.content_type in SPEC["paths"][fetch]["get"]["responses"]["200"]["content"]
        async with running.request(item["documents"][0]["url"], token=ward) as response:
            assert response.status == 403
        await post(form, ward, {"name": "OTHER NAME"}, 409)
        told = {"number": "3510-LU-2-1", "child_nik": "x", "kk_number": "x", "issued_at": "2025-03-20T10:00:00+07:00"}
        said = {"lease": item["lease"], "outcome": "issue", "certificate": told}
        await post(outcome, officer, said, 422)
        await post(outcome, officer, {**said, "outcome": "ask"}, 422)
        today = dt.datetime.now(dt.UTC).strftime("%d%m%Y")
        told |= {"number": f"3510-lt-{today}-0007", "child_nik": "3510161103259007", "kk_number": "3510161405189001"}
        await post(outcome, officer, {**said, "lease": str(uuid4())}, 409)
        assert (await post(outcome, officer, said, 200))["state"] == "ISSUED"
        assert (await post(outcome, officer, said, 200))["repeated"]
        await running.until(control_id_of(message), "DELIVERED")
        who = {e["actor"].partition(":")[0] for e in await running.history(control_id_of(message))}
        assert who >= {"officer", "facility", "hospital"}
        steps = [e["step"] for e in await running.history(control_id_of(message)) if e["actor"].startswith("officer")]
        assert steps[:3] == ["lease", "document", "outcome"]
