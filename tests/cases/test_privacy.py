"""Cases 83 to 87: children and parents to protect, and what must not be kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gateway.contract.lifecycle import State
from gateway.contract.record import Variant
from gateway.pipeline import operate
from gateway.store import views
from gateway.store.queue import Kind
from tests.cases.case import case
from tests.cases.seen import born, edited, obx, plus, seen
from tests.integration.test_form import tell
from tests.integration.test_office import at_office, take
from tests.simulators.facilities import HOSPITAL
from tests.simulators.journey import journey, notice

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey

FOUNDLING = {"PID-31": "Y", "PID-21": "", "PID-6": ""}


async def listed(way: Journey, *, restricted: bool = False) -> list[dict[str, Any]]:
    """Return what a list of the hospital's births shows to a token, ordinary or of the restricted scope."""
    wanted = views.Filter(scope=HOSPITAL, restricted=restricted)
    items, _ = await views.births(way.database, wanted, limit=10, cursor=None)
    return items


@case(83)
async def test_f083_a_foundling_has_no_parents_on_its_akta_and_is_seen_by_few(way: Journey) -> None:
    """Identity unknown, nobody of kin: an akta without parents is proposed, an officer reviews, few may see it."""
    raw = edited(notice(segments=("PV1", "OBX")), FOUNDLING)
    told = seen(raw)
    assert "FOUNDLING" in told.codes
    assert "kepolisian" in told.texts["FOUNDLING"]
    await way.tell(raw)
    await way.step(Kind.ASSIGN)
    birth = await way.birth()
    assert (birth.state, birth.restricted, birth.record.variant) == (State.REVIEW, "foundling", Variant.NO_PARENTS)
    assert await listed(way) == []


@case(
    84,
    decision="Free text is not read for it, that would guess at the most private of matters: the ward says so in the "
    "form (`restricted`), or a person by `procot births restrict`.",
)
async def test_f084_a_planned_adoption_is_registered_under_the_birth_mother_and_seen_by_few(way: Journey) -> None:
    """An adoption planned at birth: the woman who gave birth is the mother on the akta, and the case is for few."""
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    await tell(way, {"restricted": "adoption"})
    birth = await way.birth()
    assert (birth.restricted, birth.state) == ("adoption", State.READY)
    assert birth.record.mother is not None
    assert birth.record.mother.name is not None
    assert birth.record.mother.name.reveal() == "SITI AMINAH"
    assert await listed(way) == []
    assert [item["restricted"] for item in await listed(way, restricted=True)] == ["adoption"]


@case(85)
@pytest.mark.parametrize("place", ["PV1-16", "NK1#1-23"])
async def test_f085_a_protected_case_is_in_no_list_and_no_lease(way: Journey, place: str) -> None:
    """A VIP flag or a protected mother: in no list and no lease but for those who may; only a person takes it back."""
    at_office(way)
    await waiting_for_few(way, place)
    assert await listed(way) == []
    assert await take(way) == []
    assert len(await take(way, restricted=True)) == 1
    await operate.restrict(replace(way.desk(), config=way.context.config), (await way.birth()).id, "")
    assert len(await listed(way)) == 1


async def waiting_for_few(way: Journey, place: str) -> None:
    value = "VIP" if place == "PV1-16" else "Y"
    await way.tell(edited(notice(), {place: value}))
    await way.work()
    birth = await way.birth()
    assert (birth.state, birth.restricted) == (State.AWAIT_OFFICE, "vip")


@case(
    86,
    decision="The raw bytes are kept until their time is over (retention.bodies_days after the birth is finished): "
    "they prove what was answered. Backups are encrypted; at rest that is the disk's, as for the whole database.",
)
async def test_f086_a_diagnosis_never_reaches_a_record(way: Journey) -> None:
    """A result that is not on the allow-list, and every DG1, is dropped at the door: no record or lease has it."""
    raw = plus(
        notice(),
        obx("7917-8", "HIV REAKTIF", kind="ST"),
        "DG1|1||B20^HIV disease^I10|HIV disease||A",
    )
    assert seen(raw).code == "AA"
    at_office(way)
    await way.tell(raw)
    await way.work()
    (item,) = await take(way)
    kept = json.dumps(item) + (await way.birth()).record.model_dump_json() + json.dumps(await listed(way))
    assert "HIV" not in kept
    assert "7917-8" not in kept
    assert "B20" not in kept
    rows = await way.database.fetch("SELECT detail::text FROM events UNION ALL SELECT findings::text FROM births")
    assert not any("HIV" in str(row[0]) for row in rows)


@case(
    87,
    decision="`consent` of the facility says which: public_task (the default: registration is a duty of the state, and "
    "the samples' births bring no consent) names what is missing and holds nothing; required waits in AWAIT_FORM.",
)
async def test_f087_where_consent_is_required_the_birth_waits_for_it(database: str, tmp_path: Path) -> None:
    """Without consent a birth waits for the form where the facility requires it; the form lets it go on."""
    async with journey(database, tmp_path, consent="required") as way:
        await way.tell(notice())
        await way.step(Kind.ASSIGN)
        birth = await way.birth()
        assert birth.state is State.AWAIT_FORM
        assert [f["code"] for f in birth.findings] == ["CONSENT_MISSING"]
        (row,) = await way.database.fetch("SELECT missing FROM births")
        assert row["missing"] == ["consent"]
        answer = await tell(way, {"consent": {"given": True, "how": "TERTULIS"}})
        assert (answer["state"], answer["missing"]) == ("READY", [])
        consent = (await way.birth()).record.consent
        assert consent is not None
        assert (consent.given, consent.how) == (True, "TERTULIS")


@case(87)
async def test_f087_as_a_public_task_a_missing_consent_is_recorded_and_holds_nothing(way: Journey) -> None:
    """As a public task the birth goes on without consent, and what is missing stays on record."""
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    assert await way.state() is State.READY
    (row,) = await way.database.fetch("SELECT missing FROM births")
    assert row["missing"] == ["consent"]
    refused = seen(born({"ZKL-13": "N^20250311100000^LISAN"}))
    assert refused.record.consent is not None
    assert (refused.state, refused.record.consent.given) == (State.READY, False)
