"""`procot births pairs, merge, split` and the calls of the API: both sides shown, one decision, within one's scope."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract.lifecycle import State
from gateway.errors import BirthBusyError, IllegalMoveError, StoreUnavailableError
from gateway.pipeline import decide_pair, operate
from gateway.pipeline.rejudge import go
from gateway.store import births, tokens
from gateway.store.births import Why
from gateway.store.queue import Kind
from tests.contract.test_openapi import conforms
from tests.simulators.command import configuration, procot
from tests.simulators.facilities import CLINIC, HOSPITAL
from tests.simulators.journey import HEAVIER, Journey, journey, notice
from tests.simulators.people import persons_in
from tests.simulators.system import control_id_of, system

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OLD, NEW = "00450121", "00450999"


@pytest.fixture
async def way(database: str, tmp_path: Path) -> AsyncIterator[Journey]:
    async with journey(database, tmp_path) as running:
        await running.tell(notice(control_id="FIRST"))
        await running.tell(notice(record_number=NEW, same_mother=True, control_id="SECOND"))
        await running.work()
        yield running


@pytest.fixture
def config(database: str, tmp_path: Path) -> Path:
    return configuration(tmp_path, database, facility=HOSPITAL)


async def test_what_waits_is_listed_and_laid_out_without_a_person_in_it(way: Journey, config: Path) -> None:
    listed = await procot("births", "pairs", "--json", "--config", config)
    pair = json.loads(listed.out)
    assert (pair["verdict"], pair["rule"], pair["earlier_state"]) == ("suspect", "alike", "REVIEW")
    assert str((await way.birth(OLD)).id) in (await procot("births", "pairs", "--config", config)).out
    shown = await procot("births", "pairs", "SECOND", "--config", config)
    assert "mother's NIK" in shown.out
    assert "suspect by rule alike" in shown.out
    assert "MOTHER_NIK_SAME +4" in shown.out
    assert persons_in(shown.out + listed.out) == set()
    birth = await procot("births", "show", "SECOND", "--config", config)
    assert "by rule alike (MOTHER_NIK_SAME +4" in birth.out
    made = json.loads((await procot("births", "show", "SECOND", "--json", "--config", config)).out)
    assert made["likenesses"][0]["birth"] == pair["earlier"]


async def test_a_merge_is_shown_asked_for_and_done(way: Journey, config: Path) -> None:
    merge = ("births", "merge", "SECOND", "FIRST", "--reason", "one wristband", "--config", config)
    only = await procot(*merge, "--json")
    assert {f["field"]: f["same"] for f in json.loads(only.out)["fields"]}["weight (g)"] is True
    assert await way.state(NEW) is State.REVIEW
    assert "nothing was done" in (await procot(*merge, typed="n\n")).out
    assert await way.state(NEW) is State.REVIEW
    done = await procot(*merge, typed="y\n")
    assert done.status == 0, done.err
    assert f"{(await way.birth(OLD)).id} lives on and is READY" in done.out
    assert await way.state(NEW) is State.MERGED
    again = await procot(*merge, "--yes")
    assert again.status == 1
    assert "nothing to merge" in again.err or "same birth" in again.err
    event = [e for e in await way.events() if e["step"] == "merge"][-1]
    assert "one wristband" in event["reason"]


async def test_a_third_birth_that_the_merged_one_resembled_goes_on_waiting(database: str, tmp_path: Path) -> None:
    third = "00450888"
    without_nik, other_name = (("3510165203959001^^^DUKCAPIL^NI", ""),), (("SITI AMINAH", "DEWI LESTARI"),)
    async with journey(database, tmp_path) as way:
        await way.tell(notice(control_id="FIRST", changes=without_nik))
        await way.tell(notice(record_number=NEW, same_mother=True, control_id="SECOND"))
        await way.tell(notice(record_number=third, same_mother=True, control_id="THIRD", changes=other_name))
        await way.work()
        first, second, last = [(await way.birth(number)).id for number in (OLD, NEW, third)]
        await decide_pair.merge(way.desk(), second, first)
        await way.work()
        assert [await way.state(n) for n in (OLD, NEW, third)] == [State.REVIEW, State.MERGED, State.REVIEW]
        await decide_pair.split(way.desk(), last, first)
        assert [await way.state(n) for n in (OLD, third)] == [State.READY, State.READY]


async def test_a_third_birth_shows_at_once_when_a_merge_brings_the_mother(database: str, tmp_path: Path) -> None:
    third = "00450888"
    nik = "3510165203959001^^^DUKCAPIL^NI"
    motherless = (("NK1|1|SITI AMINAH^^^^^^L|MTH", "NK1|1||OTH"), (f"~{nik}", ""), (f"{nik}~", ""))
    async with journey(database, tmp_path) as way:
        await way.tell(notice(control_id="FIRST", changes=motherless))
        await way.tell(notice(record_number=third, same_mother=True, control_id="THIRD"))
        another_day = (("20250311041500+0700|M", "20250305175200+0700|M"), *HEAVIER)
        await way.tell(notice(record_number=NEW, same_mother=True, control_id="SECOND", changes=another_day))
        while await way.database.fetch("SELECT FROM tasks WHERE kind = 'assign' AND due_at <= now()"):
            await way.work(Kind.ASSIGN)
        first, second = [(await way.birth(number)).id for number in (OLD, NEW)]
        assert await way.count("likenesses") == 0
        await decide_pair.merge(way.desk(), second, first)
        assert [await way.state(n) for n in (OLD, NEW, third)] == [State.REVIEW, State.MERGED, State.REVIEW]


async def test_a_merge_waits_for_whoever_works_on_a_birth_it_frees(way: Journey) -> None:
    await way.tell(notice(record_number="00450888", same_mother=True, control_id="THIRD"))
    await way.work()
    first, second, third = [(await way.birth(number)).id for number in (OLD, NEW, "00450888")]
    async with way.database.transaction() as connection:
        await births.lock(connection, third)
        with pytest.raises(StoreUnavailableError, match="nothing was changed, try again"):
            await decide_pair.merge(way.desk(), second, first)
        assert await way.state(NEW) is State.REVIEW
    assert await decide_pair.merge(way.desk(), second, first) == first


async def test_two_that_resemble_each_other_are_cancelled_at_one_moment(way: Journey) -> None:
    ids = [(await way.birth(number)).id for number in (OLD, NEW)]
    ends = await asyncio.gather(*(operate.cancel(way.desk(), i) for i in ids))
    assert ends == [State.CANCELLED, State.CANCELLED]


async def test_whoever_sends_a_birth_out_never_waits_for_one_that_resembles_it(way: Journey) -> None:
    ids = [(await way.birth(number)).id for number in (OLD, NEW)]
    why = Why("operator", "cancel")
    async with way.database.transaction() as one, way.database.transaction() as other:
        mine, theirs = await births.lock(one, ids[0]), await births.lock(other, ids[1])
        for connection, birth in ((one, mine), (other, theirs)):
            savepoint = connection.transaction()
            await savepoint.start()
            with pytest.raises(BirthBusyError) as busy:
                await go(way.context, connection, birth, State.CANCELLED, why)
            await savepoint.rollback()
            assert busy.value.mothers  # whoever begins again locks her first of all


async def test_a_united_birth_is_found_by_the_name_that_came_with_the_other(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await way.tell(notice(control_id="FIRST", changes=(("SITI AMINAH", ""),)))
        await way.tell(notice(record_number=NEW, same_mother=True, control_id="SECOND"))
        await way.work()
        first, second = [(await way.birth(number)).id for number in (OLD, NEW)]
        await decide_pair.merge(way.desk(), second, first)
        sql = "SELECT count(DISTINCT mother_name_key) AS n, count(mother_name_key) AS told FROM births"
        assert tuple((await way.database.fetch(sql))[0]) == (1, 2)


async def test_a_split_lets_both_go_on(way: Journey, config: Path) -> None:
    split = ("births", "split", "SECOND", "--reason", "two wristbands", "--config", config)
    assert (await procot(*split, "--json")).status == 0
    assert await way.state(OLD) is State.REVIEW
    done = await procot(*split, "--yes")
    assert done.status == 0, done.err
    assert [await way.state(n) for n in (OLD, NEW)] == [State.READY, State.READY]
    refused = await procot(*split, "--yes")
    assert refused.status == 1
    assert "resembles no other birth" in refused.err
    assert "decided: different" in (await procot("births", "pairs", "FIRST", "--config", config)).out


@pytest.mark.parametrize("decision", [("merge", "SECOND", "FIRST"), ("split", "SECOND")])
async def test_where_nobody_can_answer_the_command_names_yes_and_does_nothing(
    way: Journey, config: Path, decision: tuple[str, ...]
) -> None:
    done = await procot("births", *decision, "--reason", "x", "--config", config, typed="")
    assert (done.status, "say --yes to do it" in done.err) == (2, True)
    assert await way.state(NEW) is State.REVIEW


async def test_of_two_splits_at_once_one_decides(way: Journey) -> None:
    ids = [(await way.birth(number)).id for number in (OLD, NEW)]
    ends = await asyncio.gather(*(decide_pair.split(way.desk(), i) for i in ids), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["IllegalMoveError", "tuple"]


async def test_of_a_restricted_birth_nothing_is_shown(way: Journey, config: Path) -> None:
    await operate.restrict(way.desk(), (await way.birth(OLD)).id, "violence")
    shown = json.loads(
        (await procot("births", "merge", "FIRST", "SECOND", "--reason", "x", "--json", "--config", config)).out
    )
    fields = {f["field"]: f["values"] for f in shown["fields"]}
    assert fields["born at"] == fields["weight (g)"] == ["told", "told"]


async def test_before_the_migration_there_is_nothing_to_decide(way: Journey, config: Path) -> None:
    await way.database.fetch("DROP TABLE likenesses")
    assert (await procot("births", "pairs", "--config", config)).out.strip() in ("", "nothing found")
    done = await procot("births", "split", "FIRST", "--reason", "x", "--yes", "--config", config)
    assert (done.status, "run procot migrate" in done.err) == (1, True)


async def test_officers_and_operators_decide_within_their_scope(database: str, tmp_path: Path) -> None:
    unnamed = (("AHMAD RIZKI PRATAMA", "BY NY SITI AMINAH"),)  # so that none is on its way before the others come
    first, second = (notice(record_number=n, same_mother=True, changes=unnamed) for n in (OLD, NEW))
    foreign = notice(record_number="P-1", same_mother=True, changes=unnamed).replace(
        HOSPITAL.encode(), CLINIC.encode(), 1
    )
    async with system(database, tmp_path) as running:
        for message in (first, second, foreign):
            await running.send(message)
        one, two, three = [await running.until(control_id_of(m), "REVIEW") for m in (first, second, foreign)]
        store = running.gateway.context.database
        _, officer = await tokens.new(store, label="o", role="officer", office="3510")
        _, elsewhere = await tokens.new(store, label="o", role="officer", office="5171")

        async def call(path: str, token: str, status: int, body: object = None, **ids: str) -> Any:
            method = "GET" if body is None else "POST"
            options: dict[str, Any] = {"method": method, "token": token} | ({} if body is None else {"json": body})
            async with running.request(path.format(**({"id": one["id"]} | ids)), **options) as response:
                assert response.status == status, await response.text()
                await conforms(response, path, method.lower())
                return json.loads(await response.text())

        show, compare = "/v1/births/{id}", "/v1/births/{id}/compare/{other}"
        merge, split = "/v1/births/{id}/merge", "/v1/births/{id}/split"
        seen = await call(show, officer, 200)
        assert {like["birth"] for like in seen["likenesses"]} == {two["id"], three["id"]}
        ward = await call(show, running.facility[HOSPITAL], 200)
        assert {like["birth"] for like in ward["likenesses"]} == {two["id"], None}  # the other hospital's is not told
        assert (await call(compare, officer, 200, other=two["id"]))["verdict"]["rule"] == "alike"
        await call(compare, officer, 404, other="00000000-0000-0000-0000-000000000000")
        await call(compare, officer, 409, other=one["id"])
        await call(compare, running.facility[HOSPITAL], 403, other=two["id"])
        asked = {"reason": "one wristband", "into": one["id"]}
        await call(merge, running.facility[HOSPITAL], 403, asked, id=two["id"])
        await call(merge, elsewhere, 404, asked, id=two["id"])
        await call(merge, officer, 422, {"into": one["id"]}, id=two["id"])
        assert (await call(merge, officer, 200, asked, id=two["id"]))["id"] == one["id"]
        await call(merge, officer, 409, asked, id=two["id"])
        after = await call(split, running.operator, 200, {"reason": "two wristbands"})
        decided = {like["birth"]: like["decision"] for like in after["likenesses"]}
        assert decided == {two["id"]: "same", three["id"]: "different"}
        actors = {e["actor"].partition(":")[0] for e in await running.history(control_id_of(first))}
        assert actors >= {"officer", "operator"}


async def test_a_boy_and_a_girl_are_never_merged(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await way.tell(notice())
        girl = notice(
            record_number=NEW, same_mother=True, changes=(("|20250311041500+0700|M|", "|20250311041500+0700|F|"),)
        )
        await way.tell(girl)
        await way.work()
        one, other = (await way.birth(OLD)).id, (await way.birth(NEW)).id
        with pytest.raises(IllegalMoveError, match="sex"):
            await decide_pair.merge(way.desk(), one, other)
