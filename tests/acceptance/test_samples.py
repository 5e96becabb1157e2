"""The twelve samples against a frozen clock: acknowledgement, ERR codes and states as their manifest says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gateway.mllp.client import acknowledgement
from tests.simulators.facilities import CLOCK, MANIFEST, SAMPLES, message_of, sample
from tests.simulators.system import System, control_id_of, system

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.hl7.message import Message

ALL = [entry["file"] for entry in MANIFEST["messages"]]
# Messages about a birth of another sample are told after that one.
FOLLOW_UPS = {"07_correction_a08_v25.hl7": "01", "08_cancel_a11_v23.hl7": "05"}
OPENING = [name for name in ALL if name not in FOLLOW_UPS]
# What the manifest calls issues are the birth's issue codes; ERR-5 bears the code of domain A.5.
ERR_5 = {
    "MOTHER_NIK_LENGTH": "NIK_LENGTH",
    "FATHER_NIK_SEX_MISMATCH": "NIK_SEX_MISMATCH",
    "NO_FATHER": "FATHER_MISSING",
    "NAME_PUNCTUATION": "NAME_PUNCT",
    "NAME_NON_BASIC_LATIN": "NAME_NON_LATIN",
}


def entry_of(name: str) -> dict[str, Any]:
    """Return a sample's entry in the manifest."""
    found: dict[str, Any] = next(e for e in MANIFEST["messages"] if e["file"] == name)
    return found


def frozen(dsn: str, directory: Path, **wishes: Any) -> Any:
    """Return a system whose clock stands still at the manifest's moment."""
    return system(dsn, directory, clock=lambda: CLOCK, **wishes)


async def first_judged_state(running: System, control_id: str) -> str:
    """Return where a birth went from RECEIVED: what the rules alone decided."""
    await running.until_true(lambda: _known(running, control_id), f"a birth of {control_id}")
    events = await running.history(control_id)
    state: str = next(e["to"] for e in events if e["from"] == "RECEIVED")
    return state


async def _known(running: System, control_id: str) -> bool:
    return bool(await running.births(control_id=control_id))


async def answers_to(running: System, raw: bytes) -> list[Message]:
    """Send a message and return its answers: two in enhanced mode on one connection, one in original mode."""
    header = message_of(raw).raw("MSH", 15)
    sent = await running.send_for_two(raw) if header else [await running.send(raw)]
    return [message_of(answer) for answer in sent]


@pytest.mark.parametrize("name", ALL)
async def test_a_sample_is_acknowledged_as_its_manifest_says(name: str, database: str, tmp_path: Path) -> None:
    entry = entry_of(name)
    async with frozen(database, tmp_path, application_answer="same_connection", require_form=False) as running:
        if name in FOLLOW_UPS:
            first = sample(FOLLOW_UPS[name])
            await answers_to(running, first)
            await first_judged_state(running, control_id_of(first))
        answers = await answers_to(running, (SAMPLES / name).read_bytes())
    assert [a.value("MSA", 1) for a in answers] == entry["ack"]
    assert {a.value("MSA", 2) for a in answers} == {control_id_of((SAMPLES / name).read_bytes())}
    assert all(a.value("MSH", 12) == entry["version"] for a in answers)


@pytest.mark.parametrize("name", [n for n in OPENING if "issues" in entry_of(n)])
async def test_a_sample_s_issues_are_told_in_err_and_kept_with_the_birth(
    name: str, database: str, tmp_path: Path
) -> None:
    entry = entry_of(name)
    raw = (SAMPLES / name).read_bytes()
    async with frozen(database, tmp_path, application_answer="same_connection", require_form=False) as running:
        answer = (await answers_to(running, raw))[-1]
        await first_judged_state(running, control_id_of(raw))
        birth = await running.birth(control_id_of(raw))
    told = {str(segment.components(5)[0]) for segment in answer.all("ERR") if segment.field(5)}
    expected = set(entry["issues"])
    assert {issue["code"] for issue in birth["issues"]} == expected
    if entry["version"] >= "2.5":
        assert told == {ERR_5.get(code, code) for code in expected}
    else:
        assert answer.value("MSA", 3), "up to 2.4 the ward reads MSA-3"


@pytest.mark.parametrize("name", OPENING)
async def test_a_sample_comes_to_the_state_of_its_manifest(name: str, database: str, tmp_path: Path) -> None:
    entry = entry_of(name)
    raw = (SAMPLES / name).read_bytes()
    async with frozen(database, tmp_path, require_form=False) as running:
        await running.send(raw)
        assert await first_judged_state(running, control_id_of(raw)) == entry["state"]
        birth = await running.birth(control_id_of(raw))
    if "deadline" in entry:
        assert birth["deadline"] == entry["deadline"]


@pytest.mark.parametrize("name", [n for n in OPENING if entry_of(n)["state"] == "READY"])
async def test_a_birth_without_its_form_waits_for_the_form(name: str, database: str, tmp_path: Path) -> None:
    raw = (SAMPLES / name).read_bytes()
    expected = "READY" if entry_of(name)["form_complete"] else "AWAIT_FORM"
    async with frozen(database, tmp_path) as running:
        await running.send(raw)
        assert await first_judged_state(running, control_id_of(raw)) == expected


async def test_twins_on_two_dates_are_two_births_of_one_group(database: str, tmp_path: Path) -> None:
    async with frozen(database, tmp_path) as running:
        for name in ("02", "03"):
            await running.send(sample(name))
            await first_judged_state(running, control_id_of(sample(name)))
        first, second = [await running.birth(control_id_of(sample(name))) for name in ("02", "03")]
    assert first["id"] != second["id"]
    assert first["twin_group"] == second["twin_group"] is not None


async def test_a_correction_before_submission_is_a_new_revision(database: str, tmp_path: Path) -> None:
    async with frozen(database, tmp_path, behaviour={"check_outage": True}) as running:
        await running.send(sample("01"))
        await running.until(control_id_of(sample("01")), "READY")
        await running.send(sample("07"))
        await running.until_true(lambda: _revision(running, 2), "a second revision")
        birth = await running.birth(control_id_of(sample("07")))
        changed = (await running.history(control_id_of(sample("07"))))[-1]
    assert birth["state"] == entry_of("07_correction_a08_v25.hl7")["state_if_not_sent"]
    assert changed["reason"].startswith("ADT^A08")


async def _revision(running: System, number: int) -> bool:
    return bool((await running.birth(control_id_of(sample("01"))))["revision"] == number)


async def test_a_correction_after_issue_waits_for_an_officer(database: str, tmp_path: Path) -> None:
    async with frozen(database, tmp_path, application_answer="same_connection") as running:
        await running.send_for_two(sample("01"))
        await running.until(control_id_of(sample("01")), "DELIVERED")
        answers = await running.send_for_two(sample("07"))
        birth = await running.until(control_id_of(sample("07")), "AMENDMENT_REVIEW")
    assert [acknowledgement(a)[0] for a in answers] == ["CA", "AA"]
    assert b"ALREADY_ISSUED" in answers[1]
    assert birth["certificate"]["number"].startswith("3510-LU-20032025-")


async def test_a_cancellation_before_submission_cancels(database: str, tmp_path: Path) -> None:
    async with frozen(database, tmp_path) as running:
        await running.send(sample("05"))
        await running.until(control_id_of(sample("05")), "AWAIT_FORM")
        answer = await running.send(sample("08"))
        birth = await running.until(control_id_of(sample("08")), "CANCELLED")
    assert acknowledgement(answer)[0] == "AA"
    assert birth["id"]


async def test_a_cancellation_after_issue_is_reviewed_and_changes_nothing(database: str, tmp_path: Path) -> None:
    async with frozen(database, tmp_path, require_form=False) as running:
        await running.send(sample("05"))
        before = await running.until(control_id_of(sample("05")), "DELIVERED")
        answer = await running.send(sample("08"))
        after = await running.until(control_id_of(sample("08")), "REVOCATION_REVIEW")
    assert acknowledgement(answer)[0] == "AA"
    assert message_of(answer).value("MSA", 3), "a v2.3 sender is told in MSA-3"
    assert after["certificate"] == before["certificate"]
