"""What a birth's revisions changed and what it still needs: `procot births diff`, `complete`, and over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from gateway.contract.lifecycle import State
from gateway.contract.masked import MASK
from gateway.store import tokens
from tests.simulators.command import Done, configuration, procot
from tests.simulators.facilities import HOSPITAL, sample
from tests.simulators.journey import HEAVIER, RENAMED, Journey, journey, notice
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LATER = "20250311100000+0700"
FORM = {
    "reporter": {"name": "Budi Santoso", "nik": "3510160407929001", "relation": "AYAH"},
    "witnesses": [
        {"name": "Slamet Riyadi", "nik": "3510161508709001"},
        {"name": "Endang Sulastri", "nik": "3510165811759001"},
    ],
    "marriage": {"status": "TERCATAT", "number": "0451/017/VI/2019"},
    "consent": {"given": True},
}


class Desk:
    """A journey, and the command line beside it."""

    def __init__(self, way: Journey, config: Path) -> None:
        self.way = way
        self._config = config

    async def __call__(self, *arguments: object, as_json: bool = True, typed: str = "") -> Done:
        more = ["--json"] if as_json else []
        return await procot("births", *arguments, "--config", self._config, *more, typed=typed)


@pytest_asyncio.fixture
async def desk(database: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with journey(database, tmp_path, require_form=True) as way:
        yield Desk(way, configuration(tmp_path, database, facility=HOSPITAL))


async def corrected(desk: Desk) -> Any:
    """Tell of a birth, then of another name and weight; return its id."""
    await desk.way.tell(notice())
    await desk.way.work()
    await desk.way.tell(notice("A08", sent=LATER, changes=(*RENAMED, *HEAVIER)))
    await desk.way.work()
    return (await desk.way.birth()).id


async def test_a_difference_names_fields_sources_and_places_and_no_value(desk: Desk) -> None:
    birth_id = await corrected(desk)
    (told,) = (await desk("diff", birth_id)).lines
    assert (told["since"], told["revision"], told["values"]) == (1, 2, False)
    found = {change["path"]: change for change in told["changes"]}
    assert found["child.name"] == {
        "path": "child.name", "change": "changed", "before": MASK, "after": MASK, "source": "hl7",
        "place": found["child.name"]["place"], "legal": True,
    }  # fmt: skip
    assert found["child.name"]["place"].startswith("PID")
    assert found["child.weight_g"]["legal"] is False
    shown = await desk("diff", birth_id, as_json=False)
    assert "revision 1 to 2" in shown.out
    for secret in ("RIZKI", "RIZQI", "3150", "3510165203959001"):
        assert secret not in shown.out + json.dumps(told)


async def test_any_two_revisions_can_be_compared_and_the_first_with_nothing(desk: Desk) -> None:
    birth_id = await corrected(desk)
    (first,) = (await desk("diff", birth_id, "--revision", 1)).lines
    assert {change["change"] for change in first["changes"]} == {"set"}
    assert next(c for c in first["changes"] if c["path"] == "event")["after"] == "KELAHIRAN"
    (whole,) = (await desk("diff", birth_id, "--since", 0)).lines
    assert {c["path"] for c in whole["changes"]} >= {c["path"] for c in first["changes"]}
    for wrong in (("--revision", 3), ("--revision", 1, "--since", 1), ("--since", 2)):
        done = await desk("diff", birth_id, *wrong)
        assert (done.status, "revisions 1 to 2" in done.err) == (1, True), done


async def test_every_revision_is_listed_with_who_made_it_and_what_it_changed(desk: Desk) -> None:
    birth_id = await corrected(desk)
    first, second = (await desk("diff", birth_id, "--all")).lines
    assert (first["revision"], first["actor"], first["changed"]) == (1, "hospital", [])
    assert "child.name" in second["legal"]
    assert "child.weight_g" in second["changed"]
    assert second["control_id"].startswith("T")
    assert "child.name" in (await desk("diff", birth_id, "--all", as_json=False)).out
    assert (await desk("diff", birth_id, "--all", "--revision", 1)).status == 2


async def test_what_the_form_said_has_the_form_as_its_source(desk: Desk) -> None:
    await desk.way.tell(notice(segments=("NK1", "PV1", "OBX")))
    await desk.way.work()
    birth_id = (await desk.way.birth()).id
    assert (await desk("complete", birth_id, "--form", "-", typed=json.dumps(FORM))).status == 0
    (told,) = (await desk("diff", birth_id)).lines
    assert {c["source"] for c in told["changes"] if c["path"].startswith("reporter")} == {"form"}


async def test_complete_says_what_is_missing_and_from_whom(desk: Desk) -> None:
    await desk.way.tell(notice(segments=("NK1", "PV1", "OBX")))
    await desk.way.work()
    birth = await desk.way.birth()
    assert birth.state is State.AWAIT_FORM
    done = await desk("complete", birth.id)
    assert done.status == 1
    (told,) = done.lines
    assert [(m["item"], m["from"]) for m in told["missing"]] == [
        ("reporter", "parents"), ("witness_1", "parents"), ("witness_2", "parents"), ("marriage", "parents"),
        ("consent", "parents"),
    ]  # fmt: skip
    shown = (await desk("complete", birth.id, as_json=False)).out
    for words in ("the reporter: name and NIK", "pelapor: nama dan NIK", "AWAIT_FORM"):
        assert words in shown


async def test_a_paper_form_completes_a_birth_as_the_web_form_does(desk: Desk, tmp_path: Path) -> None:
    await desk.way.tell(notice(segments=("NK1", "PV1", "OBX")))
    await desk.way.work()
    birth_id = (await desk.way.birth()).id
    file = tmp_path / "form.json"
    file.write_text(json.dumps({**FORM, "reporter": {"name": "Budi", "nik": "12"}}))
    refused = await desk("complete", birth_id, "--form", file)
    assert refused.status == 1
    assert [e["pointer"] for e in refused.lines[0]["errors"]] == ["/reporter/nik"]
    shown = await desk("complete", birth_id, "--form", file, as_json=False)
    assert "/reporter/nik" in shown.err
    assert await desk.way.state() is State.AWAIT_FORM
    file.write_text(json.dumps(FORM))
    done = await desk("complete", birth_id, "--form", file, "--key", "paper-1")
    assert (done.status, done.lines[0]["missing"]) == (0, []), done.err
    assert done.lines[0]["state"] == "READY"
    again = await desk("complete", birth_id, "--form", file, "--key", "paper-1")
    assert again.lines == done.lines
    assert (await desk.way.birth()).revision == 2
    event = next(e for e in await desk.way.events() if e["step"] == "form")
    assert event["actor"].startswith("operator:")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"name": "Lain Sekali"}))
    reused = await desk("complete", birth_id, "--form", other, "--key", "paper-1")
    assert (reused.status, "Idempotency-Key" in reused.err) == (1, True)


async def test_a_form_by_the_command_line_keeps_the_birth_to_be_found_by_its_mother(desk: Desk) -> None:
    await desk.way.tell(notice(segments=("NK1", "PV1", "OBX")))
    await desk.way.work()
    before = await desk.way.database.fetchrow("SELECT mother_key FROM births")
    await desk("complete", (await desk.way.birth()).id, "--form", "-", typed=json.dumps(FORM))
    assert await desk.way.database.fetchrow("SELECT mother_key FROM births") == before


async def test_what_is_no_json_is_wrong_as_a_whole(desk: Desk, tmp_path: Path) -> None:
    birth_id = await corrected(desk)
    done = await desk("complete", birth_id, "--form", "-", typed="nothing")
    assert [(e["pointer"], e["code"]) for e in done.lines[0]["errors"]] == [("", "NOT_JSON")]
    absent = await desk("complete", birth_id, "--form", tmp_path / "absent.json")
    assert (absent.status, "cannot be read" in absent.err) == (1, True)
    assert (await desk("complete", birth_id, "--key", "x")).status == 2


async def test_values_are_for_an_officer_of_the_birth_s_office_alone_and_reading_them_is_written_down(
    database: str, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as running:
        await running.send(sample("01"))
        birth = await running.until(control_id_of(sample("01")), "DELIVERED")
        path = f"/v1/births/{birth['id']}/diff"
        store = running.gateway.context.database
        _, officer = await tokens.new(store, label="o", role="officer", office="3510")
        _, elsewhere = await tokens.new(store, label="e", role="officer", office="3573")
        for token in (running.operator, running.officer, running.facility[HOSPITAL]):
            told = await running.get(path, token=token, revision="1", since="0")
            assert told["values"] is False
            names = {c["path"]: c["after"] for c in told["changes"]}
            assert (names["child.name"], names["event"]) == (MASK, "KELAHIRAN")
        told = await running.get(path, token=officer, revision="1", since="0")
        assert (told["values"], {c["path"]: c["after"] for c in told["changes"]}["child.name"]) == (
            True, "AHMAD RIZKI PRATAMA",
        )  # fmt: skip
        async with running.request(path, token=elsewhere) as response:
            assert response.status == 404
        read = [e for e in await running.history(control_id_of(sample("01"))) if e["step"] == "diff"]
        assert [(e["actor"].partition(":")[0], e["detail"]) for e in read] == [("officer", {"since": 0, "revision": 1})]
        for query in ({"revision": "9"}, {"revision": "x"}, {"luck": "1"}, {"since": "1", "revision": "1"}):
            async with running.request(path, token=officer, params=query) as response:
                assert response.status == 400
        (item,) = (await running.get(f"/v1/births/{birth['id']}/revisions"))["items"]
        assert (item["revision"], item["control_id"]) == (1, control_id_of(sample("01")))
        assert item["signed_at"]
