"""Offices that are not connected: the record goes by a pack, and counts as gone from then on (domain F 60, F 61)."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from pypdf import PdfReader

from gateway.contract.lifecycle import State
from gateway.errors import IllegalMoveError
from gateway.pipeline import officer, operate, pack
from gateway.pipeline.officer import Decision, Issue, Word
from gateway.store.leases import Wanted
from tests.integration.test_office import ISSUE, at_office
from tests.simulators.journey import RENAMED, journey, notice

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.pipeline.pack import Pack
    from tests.simulators.journey import Journey

FAR = (("3510161405189001", "3573011405189001"),)


async def far_away(way: Journey) -> None:
    """Tell of a birth whose family is registered at an office nobody connected, and let an officer agree."""
    at_office(way, way="push", out_of_domicile=False)
    await way.tell(notice(changes=FAR))
    await way.work()
    assert await way.state() is State.REVIEW
    await operate.release(desk(way), (await way.birth()).id)
    await way.work()
    assert await way.state() is State.AWAIT_OFFICE


def desk(way: Journey) -> Any:
    return replace(way.desk(), config=way.context.config)


async def packed(way: Journey) -> Pack:
    return await operate.hand_over(desk(way), (await way.birth()).id)


async def test_a_far_office_gets_a_pack_and_the_registry_here_gets_nothing(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await far_away(way)
        made = await packed(way)
        assert (made.office, made.office_name, made.revision) == ("3573", "Disdukcapil 3573", 1)
        assert await way.state() is State.IN_PROCESS
        event = (await way.events())[-1]
        assert (event["step"], event["actor"], event["detail"]) == ("handover", "operator:tester", {"office": "3573"})
        await way.hurry()
        await way.work()
        assert way.registry.submissions == [] == way.registry.asked


async def test_the_pack_holds_the_signed_record_and_a_form_to_type_from(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await far_away(way)
        made = await packed(way)
        told = json.loads(pack.as_json(made))
        assert told["record"]["child"]["name"] == "AHMAD RIZKI PRATAMA"
        assert (told["office"]["code"], told["deadline"]) == ("3573", "2025-05-10")
        (seal,) = await way.database.fetch("SELECT payload, sha256, signature FROM seals")
        assert told["signed"]["payload"].encode() == seal["payload"]
        assert hashlib.sha256(told["signed"]["payload"].encode()).hexdigest() == seal["sha256"]
        text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(pack.as_pdf(made))).pages)
        for words in ("AHMAD RIZKI PRATAMA", "04.15 WIB", "10-05-2025", "3510165203959001", "Data saksi II", "3573"):
            assert words in text
        assert "Bukan akta kelahiran" in text


async def test_the_same_pack_comes_again_and_a_change_waits(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await far_away(way)
        first = await packed(way)
        await way.tell(notice("A08", sent="20250312093000+0700", changes=(*FAR, *RENAMED)))
        await way.work()
        again = await packed(way)
        assert (again.payload, again.signature, again.revision) == (first.payload, first.signature, 1)
        assert (await way.birth()).revision == 1
        rows = await way.database.fetch("SELECT count(*) AS n FROM attempts")
        assert rows[0]["n"] == 1


async def test_what_the_far_office_issued_comes_back_by_an_officer(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await far_away(way)
        await packed(way)
        birth = await way.birth()
        assert await officer.lease(way.context, Wanted("all", False, 10), actor="officer:all", seconds=60) == []  # noqa: FBT003
        wanted = Wanted("all", False, 1, (birth.id,))  # noqa: FBT003
        (item,) = await officer.lease(way.context, wanted, actor="officer:all", seconds=60)
        issue: Issue = replace(ISSUE, number="3573-LU-20032025-0007", kk_number="3573011405189001")
        word = Word(Decision.ISSUE, UUID(item["lease"]), "officer:all", b"d", issue=issue)
        assert (await officer.decide(way.context, birth.id, word))["state"] == "ISSUED"
        await way.work()
        assert await way.state() is State.DELIVERED


async def test_what_goes_another_way_gets_no_pack(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await way.reach(State.SEALED)
        with pytest.raises(IllegalMoveError, match="is submitted to the registry"):
            await packed(way)


async def test_registered_here_although_from_elsewhere_where_the_setting_says_so(database: str, tmp_path: Path) -> None:
    async with journey(database, tmp_path) as way:
        await way.tell(notice(changes=FAR))
        await way.work()
        await operate.release(desk(way), (await way.birth()).id)
        await way.work()
        assert [s.revision for s in way.registry.submissions] == [1]
        assert (await way.birth()).office == "3510"
