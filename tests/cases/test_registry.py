"""Cases 93 to 99: a registry that is out of quota, refuses us, is away, loses answers, or decides otherwise."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from adapters.dukcapil.replies import Trouble, parse_check
from gateway.contract.lifecycle import State
from gateway.contract.masked import Personal
from gateway.contract.ports import RegistryStatus
from gateway.errors import (
    IllegalMoveError,
    RegistryLoginError,
    RegistryQuotaError,
    RegistryRefusedError,
    RegistryUnavailableError,
    RegistryUnknownOutcomeError,
)
from gateway.pipeline import clocks, operate, pack
from gateway.store import pauses, views
from gateway.store.queue import Kind
from tests.cases.case import case
from tests.cases.seen import OTHER_FAMILY
from tests.integration.test_office import take
from tests.simulators.journey import RENAMED, notice
from tests.simulators.records import birth_record
from tests.simulators.registry import Clock, bench
from tests.simulators.scripted_registry import PDF, certificate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.journey import Journey

LATER = "20250312093000+0700"
AWAY = RegistryUnavailableError("down for maintenance", after=60)


async def submitted(way: Journey) -> None:
    """Tell of a birth and let it be signed."""
    await way.tell(notice())
    for kind in (Kind.ASSIGN, Kind.CHECK, Kind.SEAL):
        await way.step(kind)
    assert await way.state() is State.SEALED


# ------------------------------------------------------------------------------------------- quota and log-in


@case(93)
async def test_f093_a_used_up_quota_closes_the_check_until_midnight_wib(tmp_path: Path) -> None:
    """Out of quota at 22.00 WIB the check is left alone for two hours, and then works again by itself."""
    clock = Clock(dt.datetime(2025, 3, 20, 15, 0, tzinfo=dt.UTC))
    async with bench(tmp_path, clock=clock) as desk:
        desk.behave(quota_exhausted=True)
        with pytest.raises(RegistryQuotaError) as refused:
            await desk.adapter.check_parents(birth_record())
        assert refused.value.after == 7200
        desk.behave(quota_exhausted=False)
        clock.advance(minutes=119)
        with pytest.raises(RegistryQuotaError):
            await desk.adapter.check_parents(birth_record())
        assert desk.sandbox.logins == 1
        clock.advance(minutes=1)
        assert [c.findings for c in await desk.adapter.check_parents(birth_record())] == [(), ()]


@case(93)
async def test_f093_births_go_on_being_accepted_and_the_discharged_go_first(way: Journey) -> None:
    """Meanwhile births are accepted and wait in READY; when it works again, who was discharged goes first."""
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    way.registry.on_check.append(RegistryQuotaError("the day's quota is used up", after=7200))
    with pytest.raises(RegistryQuotaError):
        await way.step(Kind.CHECK)
    assert await way.tell(notice(record_number="2", changes=OTHER_FAMILY)) == "CA"
    await way.tell(notice("A03", sent=LATER, record_number="2", changes=OTHER_FAMILY))
    await way.hurry()
    await way.work()
    assert (await way.state(), await way.state("2")) == (State.READY, State.READY)
    assert len(way.registry.checked) == 1  # nobody else was sent against the closed door
    tomorrow = way.context.clock() + dt.timedelta(hours=2)
    way.context = replace(way.context, clock=lambda: tomorrow)
    await way.hurry()
    await way.step(Kind.CHECK)
    assert way.registry.checked[-1].child.medical_record.reveal() == "2"


@case(93)
def test_f093_the_registers_own_words_for_it_are_known() -> None:
    """An answer with HTTP 200 that says the quota is used up is no statement about the mother."""
    told = parse_check(b'{"content": [{"RESPON": "Kuota akses hari ini telah habis"}]}')
    assert (told.trouble, told.state, told.verdicts) == (Trouble.QUOTA, "", {})


@case(94)
@pytest.mark.parametrize("text", ["Login gagal", "IP tidak sesuai", "user id tidak aktif", "instansi tidak aktif"])
def test_f094_every_refusal_of_ours_is_told_from_one_of_a_person(text: str) -> None:
    """Log-in, IP, user, institution: all stop the calls; none is taken for an inactive NIK."""
    told = parse_check(f'{{"content": [{{"RESPON": "{text}"}}]}}'.encode())
    assert (told.trouble, told.state) == (Trouble.LOGIN, "")


@case(94)
async def test_f094_a_refused_login_is_tried_once(tmp_path: Path) -> None:
    """Log-in or IP refused: one call for both parents, none after it however long, until a person mended it."""
    async with bench(tmp_path) as desk:
        desk.behave(login_refused=True)
        for days in (0, 1, 30):
            desk.clock.advance(days=days)
            with pytest.raises(RegistryLoginError, match="procot registry resume"):
                await desk.adapter.check_parents(birth_record())
        assert desk.sandbox.logins == 1


@case(94)
async def test_f094_a_refused_login_is_written_down_for_everybody_and_alarms(way: Journey) -> None:
    """The refusal stands in the database for every process, is logged as an error, and no birth is blamed."""
    await way.tell(notice())
    await way.step(Kind.ASSIGN)
    way.registry.on_check.append(RegistryLoginError("refused", after=300))
    with capture_logs() as logs, pytest.raises(RegistryLoginError):
        await way.step(Kind.CHECK)
    assert [(line["log_level"], line["code"]) for line in logs if line["event"] == "registry.paused"] == [
        ("error", "REGISTRY_LOGIN")
    ]
    later = way.context.clock() + dt.timedelta(days=365)
    (pause,) = await pauses.listing(way.database, later)
    assert pause.cause == "REGISTRY_LOGIN"
    await way.hurry()
    with pytest.raises(RegistryLoginError):
        await way.step(Kind.CHECK)
    assert len(way.registry.checked) == 1
    birth = await way.birth()
    assert (birth.state, birth.findings) == (State.READY, [])


# -------------------------------------------------------------------------------------------- away for days, F 95


@case(95)
async def test_f095_an_outage_of_days_loses_nothing_and_counts_the_days(way: Journey) -> None:
    """SIAK away for days: births are accepted, nothing gives up, the term's days are told; then each goes once."""
    await submitted(way)
    way.registry.on_submit.extend([AWAY] * 30)
    for _ in range(30):
        await way.work(Kind.SUBMIT)
        await way.hurry()
    assert await way.state() is State.SUBMITTED
    assert await way.tell(notice(record_number="2", changes=OTHER_FAMILY)) == "CA"
    at = dt.datetime(2025, 4, 30, 3, tzinfo=dt.UTC)
    await clocks.escalate(replace(way.context, clock=lambda: at))
    assert [e["detail"]["day"] for e in await way.events() if e["step"] == "clock"] == [50]
    await way.hurry()
    await way.work()
    assert await way.state() is State.IN_PROCESS
    assert len({s.idempotency_key for s in way.registry.submissions}) == 2
    assert len(way.registry.cases) == 2


@case(95)
async def test_f095_what_did_not_reach_the_registry_may_go_by_paper_instead(way: Journey) -> None:
    """A signed birth that did not reach SIAK is exported as a pack for the office, and is never submitted after it."""
    await submitted(way)
    way.registry.on_submit.append(AWAY)
    await way.work(Kind.SUBMIT)
    made = await operate.hand_over(way.desk("SIAK away"), (await way.birth()).id, outage=True)
    assert pack.as_pdf(made).startswith(b"%PDF")
    (seal,) = await way.database.fetch("SELECT payload FROM seals")
    assert made.payload == seal["payload"]
    assert await way.state() is State.IN_PROCESS
    await way.database.fetch("INSERT INTO tasks (kind, birth_id) SELECT 'submit', id FROM births")
    await way.work()
    assert len(way.registry.submissions) == 1  # the one that found it away
    (item,) = await take(way, records=((await way.birth()).id,), count=1)
    assert item["state"] == "IN_PROCESS"


@case(95)
async def test_f095_what_the_registry_may_have_never_goes_by_paper(way: Journey) -> None:
    """A birth whose answer was lost may be at the registry: no pack is made of it."""
    await submitted(way)
    way.registry.on_submit.append(RegistryUnknownOutcomeError("time-out"))
    await way.work(Kind.SUBMIT)
    with pytest.raises(IllegalMoveError, match="may have it"):
        await operate.hand_over(way.desk("SIAK away"), (await way.birth()).id, outage=True)
    assert await way.state() is State.SUBMITTED


# --------------------------------------------------------------------------------------------- lost answers (96)


@case(96)
async def test_f096_a_lost_answer_is_asked_for_first(way: Journey) -> None:
    """The registry took it and its answer was lost: it is asked by our id, and nothing is sent again."""
    await submitted(way)
    way.registry.loses_answer = RegistryUnknownOutcomeError("time-out")
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.SUBMITTED
    await way.hurry()
    await way.work(Kind.SUBMIT)
    assert await way.state() is State.IN_PROCESS
    assert (len(way.registry.asked), len(way.registry.submissions)) == (1, 1)


@case(96)
async def test_f096_what_never_arrived_is_sent_again_under_the_same_key(way: Journey) -> None:
    """What the registry does not know is sent again: the same bytes, the same Idempotency-Key."""
    await submitted(way)
    way.registry.on_submit.append(RegistryUnknownOutcomeError("time-out"))
    await way.work(Kind.SUBMIT)
    await way.hurry()
    await way.work(Kind.SUBMIT)
    first, second = way.registry.submissions
    assert (first.idempotency_key, first.payload, first.signature) == (
        second.idempotency_key,
        second.payload,
        second.signature,
    )
    assert await way.state() is State.IN_PROCESS


# --------------------------------------------------------------------------------------------- decided otherwise


@case(97)
async def test_f097_the_issued_spelling_wins_and_the_ward_is_told(way: Journey) -> None:
    """The akta's spelling counts: the record, MDM^T02 and A31 have it, and the ward is told what differs."""
    await way.reach(State.IN_PROCESS)
    issued = certificate(registered={"child.name": Personal("AHMAD RIZKY PRATAMA")})
    await way.settle(RegistryStatus.ISSUED, certificate=issued)
    birth = await way.birth()
    assert birth.record.child.name == Personal("AHMAD RIZKY PRATAMA")
    assert "CERTIFICATE_DIFFERS" in {f["code"] for f in birth.findings}
    await way.work()
    letter, identity = way.hospital.received
    assert b"AHMAD RIZKY PRATAMA" in letter
    assert b"BEDA_DATA" in letter
    assert b"AHMAD RIZKY PRATAMA" in identity


@case(
    98,
    decision="The hospital reads it where it looks for every birth (GET /v1/births, its stream): REFUSED with the "
    "reason in Indonesian. No MDM^T01 is sent: a document without a document is what few SIMRS can take in.",
)
async def test_f098_a_refusal_is_told_with_its_reason_and_a_correction_goes_again(way: Journey) -> None:
    """The office refuses: REFUSED with the reason in Indonesian, seen by the hospital; corrected, it goes again."""
    await submitted(way)
    way.registry.on_submit.append(RegistryRefusedError("refused", reason="NIK_IBU_TIDAK_SESUAI"))
    await way.step(Kind.SUBMIT)
    (shown,), _ = await views.births(way.database, views.Filter(), limit=10, cursor=None)
    assert shown["state"] == "REFUSED"
    (issue,) = [i for i in shown["issues"] if i["code"] == "SUBMISSION_REFUSED"]
    assert "Disdukcapil menolak permohonan (NIK_IBU_TIDAK_SESUAI)" in issue["pesan"]
    await way.tell(notice("A08", sent=LATER, changes=RENAMED))
    await way.work()
    assert await way.state() is State.IN_PROCESS
    assert [s.revision for s in way.registry.submissions] == [1, 2]


@case(
    99,
    decision="What is checked is the SHA-256 of the registry's signed answer; the signature inside the PDF (TTE) "
    "is BSrE's, and its certificates cannot be had by a gateway in a closed network.",
)
async def test_f099_a_file_that_is_not_the_announced_one_is_never_delivered(way: Journey) -> None:
    """Another SHA-256: nothing reaches the hospital, somebody is alarmed, and the file is asked for again."""
    await way.reach(State.ISSUED)
    way.registry.on_fetch.append(PDF + b" tampered")
    with capture_logs() as logs:
        await way.work()
    assert await way.state() is State.DEAD_LETTER
    assert way.hospital.received == []
    assert any(line["log_level"] == "error" for line in logs)
    (row,) = await way.database.fetch("SELECT document FROM certificates")
    assert row["document"] is None
    await operate.retry(way.desk(), (await way.birth()).id)
    await way.work()
    assert await way.state() is State.DELIVERED
    assert len(way.registry.fetched) == 2
