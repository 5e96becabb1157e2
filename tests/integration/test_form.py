"""POST /v1/births/{id}/form: it completes what HL7 cannot bring, by the same rules, once, and within its scope."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.ports import RegistryStatus
from gateway.contract.precedence import Source
from gateway.pipeline import form
from gateway.pipeline.form import FormRefusedError, FormTooLateError, KeyReusedError, Teller
from gateway.store.queue import Kind
from tests.integration.test_merges import merge
from tests.simulators.facilities import CLINIC, HOSPITAL, sample
from tests.simulators.journey import RENAMED, journey, notice
from tests.simulators.people import persons_in
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey

PDF = b"%PDF-1.7 scan"
REPORTER = {"name": "Budi Santoso", "nik": "3510160407929001", "relation": "ayah"}
WITNESSES = [
    {"name": "Slamet Riyadi", "nik": "3510161508709001"},
    {"name": "Endang Sulastri", "nik": "3510165811759001"},
]
MARRIAGE = {"status": "TERCATAT", "number": "0451/017/VI/2019", "date": "2019-06-16", "issuer": "KUA BANYUWANGI"}
WHOLE = {
    "reporter": REPORTER,
    "witnesses": WITNESSES,
    "marriage": MARRIAGE,
    "consent": {"given": True, "how": "TERTULIS"},
}
# Sample 01 without its form part, and with a placeholder for a name.
NO_FORM = ("PID", "NK1", "PV1", "OBX")
NAMELESS = (("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"),)


async def tell(way: Journey, body: dict[str, Any], *, source: Source = Source.FORM, key: str = "") -> dict[str, Any]:
    """Tell a form as the API does."""
    birth = await way.birth()
    told = form.read(json.dumps(body).encode(), way.context.config.limits)
    return await form.take(way.context, birth.id, told, Teller("facility:test", source, key))


def document(content: bytes = PDF, **changes: Any) -> dict[str, Any]:
    return {"kind": "MARRIAGE_PROOF", "content": base64.b64encode(content).decode(), **changes}


async def test_a_form_completes_a_birth_that_waits_for_it(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(segments=NO_FORM))
        await way.step(Kind.ASSIGN)
        assert await way.state() is State.AWAIT_FORM
        answer = await tell(way, WHOLE)
        assert (answer["state"], answer["revision"], answer["missing"]) == ("READY", 2, [])
        birth = await way.birth()
        assert birth.record.reporter is not None
        assert birth.record.reporter.relation == "AYAH"
        assert birth.record.provenance["reporter.nik"] == "form"
        assert birth.record.provenance["child.name"].startswith("PID")
        assert await way.open_kinds() == ["check"]
        event = (await way.events())[-1]
        assert (event["actor"], event["step"]) == ("facility:test", "form")
        assert "witnesses.1.nik" in event["detail"]["changed"]
        assert not persons_in(json.dumps([dict(e) for e in await way.events()], default=str))


async def test_a_form_gives_the_name_and_a_later_placeholder_does_not_take_it_back(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(changes=NAMELESS))
        await way.step(Kind.ASSIGN)
        assert await way.state() is State.HOLD_NAME
        answer = await tell(way, {"name": "Ahmad Rizki  Pratama"})
        assert answer["state"] == "READY"
        await way.tell(notice("A08", sent="20250312093000+0700", changes=NAMELESS))
        await way.step(Kind.ASSIGN)
        birth = await way.birth()
        assert birth.state is State.READY
        assert birth.record.child.name is not None
        assert birth.record.child.name.reveal() == "AHMAD RIZKI PRATAMA"
        assert birth.record.provenance["child.name"] == "form"
        assert any("child.name" in reason and "stronger source" in reason for reason in await way.reasons())


async def test_missing_data_come_by_form_and_what_the_hospital_knows_stays_the_hospitals(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(changes=(("3510165203959001^^^DUKCAPIL^NI", ""), ("20250311041500+0700", "20250311"))))
        await way.step(Kind.ASSIGN)
        before = await way.birth()
        assert before.state is State.HOLD_DATA
        answer = await tell(way, {"child": {"birth_time": "04:15", "sex": "P"}, "mother": {"nik": "3510165203959001"}})
        assert answer["state"] == "READY", answer
        assert answer["not_applied"] == ["child.sex"]
        birth = await way.birth()
        assert (birth.record.child.born_at, birth.record.child.utc_offset) == ("04:15", "+07:00")
        assert birth.record.child.sex is before.record.child.sex
        row = (await way.database.fetch("SELECT mother_key, born_at FROM births"))[0]
        assert row["mother_key"] is not None
        assert row["born_at"] is not None


async def test_an_officers_word_outranks_the_form_and_the_form_does_not_take_it_back(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice())
        await way.step(Kind.ASSIGN)
        await tell(way, {"name": "Ahmad Rizqi Pratama"}, source=Source.OFFICER)
        answer = await tell(way, {"name": "Ahmad Riski Pratama"})
        assert (answer["not_applied"], answer["changed"]) == (["child.name"], [])
        birth = await way.birth()
        assert birth.record.child.name is not None
        assert birth.record.child.name.reveal() == "AHMAD RIZQI PRATAMA"
        assert birth.record.provenance["child.name"] == "officer"


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"reporter": REPORTER | {"nik": "351016040792900"}}, "/reporter/nik", "REPORTER_NIK_LENGTH"),
        ({"reporter": REPORTER | {"nik": "3510163113929001"}}, "/reporter/nik", "REPORTER_NIK_DATE"),
        ({"witnesses": [WITNESSES[0], WITNESSES[0]]}, "/witnesses/1/nik", "WITNESS_TWICE"),
        ({"witnesses": [WITNESSES[0], REPORTER | {"relation": None}]}, "/witnesses/1/relation", "UNKNOWN_FIELD"),
        (
            {"witnesses": [{"name": "Siti Aminah", "nik": "3510165203959001"}, WITNESSES[1]]},
            "/witnesses/0/nik",
            "WITNESS_IS_PARENT",
        ),
        (
            {"witnesses": [WITNESSES[0], {"name": "Anak Muda", "nik": "3510160101109001"}]},
            "/witnesses/1/nik",
            "WITNESS_AGE",
        ),
        ({"mother": {"nik": "3510160407929002"}}, "/mother/nik", "MOTHER_NIK_SEX_MISMATCH"),
        ({"name": "BY NY SITI AMINAH"}, "/name", "NAME_PLACEHOLDER"),
        ({"name": "AHMAD R1ZKI"}, "/name", "NAME_DIGIT"),
        ({"name": "NUR'AINI PUTRI"}, "/name", "NAME_PUNCTUATION"),
        ({"name": "  "}, "/name", "WRONG_FORM"),
        ({"reporter": REPORTER | {"name": "BUD\ufffd"}}, "/reporter/name", "REPORTER_NAME_UNREADABLE"),
        ({"reporter": {"nik": "3510160407929001"}}, "/reporter/name", "REQUIRED"),
        ({"names": "AHMAD"}, "/names", "UNKNOWN_FIELD"),
        ({"documents": [document(b"MZ no scan")]}, "/documents/0/content", "DOCUMENT_TYPE"),
        ({"documents": [document(mime="image/png")]}, "/documents/0/content", "DOCUMENT_TYPE"),
        ({"documents": [document() | {"content": "?"}]}, "/documents/0/content", "DOCUMENT_UNREADABLE"),
        ({"documents": [document(), document(PDF + bytes(5000))]}, "/documents/1/content", "DOCUMENT_TOO_LARGE"),
        ({"documents": [document(PDF + bytes(4000)), document(PDF + bytes(4001))]}, "/documents", "DOCUMENT_TOO_LARGE"),
        ({"documents": [document()] * 4}, "/documents", "DOCUMENT_TOO_LARGE"),
    ],
)
async def test_what_a_form_has_wrong_is_said_at_its_place_and_nothing_changes(
    database: str, tmp_path: Path, body: dict[str, Any], pointer: str, code: str
) -> None:
    limits = {"form_document_bytes": 4096, "form_documents_bytes": 8000, "form_documents": 3}
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(changes=(("20250311041500+0700", "20250311"),)))
        await way.step(Kind.ASSIGN)
        before = await way.snapshot()
        config = way.context.config
        small = config.model_copy(update={"limits": config.limits.model_copy(update=limits)})
        birth = await way.birth()
        with pytest.raises(FormRefusedError) as refused:
            await form.take(
                way.context,
                birth.id,
                form.read(json.dumps(body).encode(), small.limits),
                Teller("facility:test", Source.FORM, "k"),
            )
        problems = {(p.pointer, p.code): p for p in refused.value.problems}
        assert (pointer, code) in problems, problems
        assert problems[pointer, code].message.endswith(".")
        assert problems[pointer, code].pesan.endswith(".")
        assert await way.snapshot() == before
        assert await way.count("forms") == await way.count("attachments") == 0


async def test_the_same_key_is_answered_the_same_and_another_form_under_it_is_refused(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(segments=NO_FORM))
        await way.step(Kind.ASSIGN)
        answers = await asyncio.gather(*(tell(way, WHOLE, key="one") for _ in range(4)))
        assert all(answer == answers[0] for answer in answers)
        assert (await way.birth()).revision == 2
        before = await way.snapshot()
        assert await tell(way, WHOLE, key="one") == answers[0]
        with pytest.raises(KeyReusedError):
            await tell(way, {"name": "AHMAD"}, key="one")
        assert await way.snapshot() == before
        again = await tell(way, WHOLE, key="two")  # the same content under another key: nothing new
        assert (again["changed"], again["revision"]) == ([], 2)


async def test_documents_are_kept_once_with_their_digest_and_who_brought_them(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(segments=NO_FORM))
        await way.step(Kind.ASSIGN)
        answer = await tell(way, {"documents": [document(), document(b"\xff\xd8\xff scan", kind="FAMILY_CARD")]})
        assert [(d["mime"], d["new"]) for d in answer["documents"]] == [("application/pdf", True), ("image/jpeg", True)]
        assert answer["documents"][0]["sha256"] == hashlib.sha256(PDF).hexdigest()
        assert not (await tell(way, {"documents": [document()]}))["documents"][0]["new"]
        rows = await way.database.fetch("SELECT content, actor, message_id FROM attachments ORDER BY id")
        assert (rows[0]["content"], rows[0]["actor"], rows[0]["message_id"]) == (PDF, "facility:test", None)
        assert len(rows) == 2


@pytest.mark.parametrize("state", [State.IN_PROCESS, State.ISSUED, State.DELIVERED])
async def test_what_the_registry_has_no_form_changes(database: str, tmp_path: Path, state: State) -> None:
    async with journey(database, tmp_path) as way:
        await way.reach(state)
        before = await way.snapshot()
        with pytest.raises(FormTooLateError, match=state.value):
            await tell(way, {"name": "AHMAD RIZQI PRATAMA"})
        assert await way.snapshot() == before


async def test_a_sealed_birth_takes_a_form_as_a_new_revision_and_its_old_seal_is_not_sent(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path) as way:
        await way.reach(State.SEALED)
        assert (await tell(way, {"name": "AHMAD RIZQI PRATAMA"}))["state"] == "READY"
        assert await way.open_kinds() == ["check"]
        await way.work()
        assert [s.revision for s in way.registry.submissions] == [2]


async def test_hl7_and_form_end_in_the_same_record_whichever_comes_first(database: str, tmp_path: Path) -> None:
    async def record(*, form_first: bool) -> str:
        async with journey(database, tmp_path, require_form=True) as way:
            await way.database.fetch(
                "TRUNCATE births, messages, tasks, events, revisions, forms, attachments, seals, attempts CASCADE"
            )
            await way.tell(notice(segments=NO_FORM))
            await way.step(Kind.ASSIGN)

            async def by_form() -> None:
                await tell(way, WHOLE | {"name": "Ahmad Rizki Pratama"})

            async def by_hl7() -> None:
                await way.tell(notice("A08", sent="20250312093000+0700", changes=RENAMED))
                await way.step(Kind.ASSIGN)

            for step in (by_form, by_hl7) if form_first else (by_hl7, by_form):
                await step()
            return (await way.birth()).record.model_dump_json()

    assert await record(form_first=True) == await record(form_first=False)


async def test_what_the_form_told_of_one_number_survives_a_merge_into_another(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(record_number="new", changes=NAMELESS, same_mother=True))
        await way.tell(notice(changes=NAMELESS))
        await way.work()
        assert (await tell(way, {"name": "Ahmad Rizki Pratama"}))["state"] == "REVIEW"  # perhaps the other one
        await way.tell(merge("00450121", "new"))
        await way.work()
        assert await way.state() is State.MERGED
        birth = await way.birth("new")
        assert birth.record.child.name is not None
        assert birth.record.child.name.reveal() == "AHMAD RIZKI PRATAMA"
        assert birth.record.provenance["child.name"] == "form"


async def test_a_restricted_case_is_marked_by_the_form(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(segments=NO_FORM))
        await way.step(Kind.ASSIGN)
        await tell(way, {"restricted": "adoption"})
        assert (await way.birth()).restricted == "adoption"


# ------------------------------------------------------------------------------------------------------------- HTTP


async def test_the_ward_sends_a_form_over_http_and_the_certificate_comes(database: str, tmp_path: Path) -> None:
    message = b"\r".join(line for line in sample("01").split(b"\r") if not line.startswith(b"ZKL"))
    async with system(database, tmp_path) as running:
        await running.send(message)
        birth = await running.until(control_id_of(message), "AWAIT_FORM")
        assert [m["item"] for m in birth["missing"]] == ["reporter", "witness_1", "witness_2", "marriage", "consent"]
        assert birth["missing"][0]["from"] == "parents"
        path = f"/v1/births/{birth['id']}/form"
        for token, status in (
            (running.facility[CLINIC], 404),
            (running.operator, 403),
            (running.officer, 403),  # an officer without an office decides nothing
        ):
            async with running.request(path, method="POST", token=token, json=WHOLE) as response:
                assert response.status == status
        async with running.request(path, method="POST", token=running.facility[HOSPITAL], data=b"x") as response:
            assert response.status == 415
        bad = {"reporter": REPORTER | {"nik": "123"}}
        async with running.request(path, method="POST", token=running.facility[HOSPITAL], json=bad) as response:
            assert response.status == 422
            assert response.content_type == "application/problem+json"
            body = json.loads(await response.text())
            assert body["pesan"]
            assert body["errors"][0]["pointer"] == "/reporter/nik"
            assert not persons_in(json.dumps(body))
        headers = {"Idempotency-Key": "ward-1"}
        for _ in range(2):
            async with running.request(
                path, method="POST", token=running.facility[HOSPITAL], json=WHOLE, headers=headers
            ) as response:
                assert response.status == 200
                assert (await response.json())["revision"] == 2
        await running.until(control_id_of(message), "DELIVERED")


async def test_a_form_larger_than_its_cap_is_refused_before_it_is_read(database: str, tmp_path: Path) -> None:
    limits = {"limits": {"form_documents_bytes": 2048, "form_document_bytes": 1024}}
    async with system(database, tmp_path, config=limits) as running:
        await running.send(sample("01"))
        birth = (await running.until(control_id_of(sample("01")), "DELIVERED"))["id"]
        large = json.dumps({"name": "A" * 400_000}).encode()
        headers = {"Content-Type": "application/json"}
        async with running.request(
            f"/v1/births/{birth}/form", method="POST", token=running.facility[HOSPITAL], data=large, headers=headers
        ) as response:
            assert response.status == 413


async def test_an_office_that_asked_for_a_scan_gets_a_new_revision_by_the_scan_alone(
    database: str, tmp_path: Path
) -> None:
    async with journey(database, tmp_path) as way:
        await way.reach(State.IN_PROCESS)
        await way.settle(RegistryStatus.NEEDS_DATA, reason="BERKAS_TIDAK_TERBACA")
        assert await way.state() is State.HOLD_DATA
        answer = await tell(way, {"documents": [document()]})
        assert (answer["state"], answer["revision"], answer["changed"]) == ("READY", 2, [])
