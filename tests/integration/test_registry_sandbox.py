"""The registry sandbox itself: what it keeps, how it numbers, how it works, how it misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import os
import signal
import sqlite3
import stat
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from adapters.dukcapil.sandbox import certificate
from adapters.dukcapil.sandbox.behaviour import Behaviour, Dice
from adapters.dukcapil.sandbox.people import Standing, standing
from adapters.dukcapil.sandbox.records import Records
from adapters.dukcapil.sandbox.server import open_sandbox
from gateway.contract.masked import Personal
from gateway.contract.ports import RegistryStatus
from gateway.contract.record import Event, Sex, Variant
from gateway.errors import ConfigError, RegistryRefusedError
from tests.simulators.records import birth_record, child, father, mother
from tests.simulators.registry import TOKEN, Bench, Clock, bench, gateway_jwks, mailbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.contract.ports import Certificate, Outcome
    from gateway.contract.record import BirthRecord

STAND_ALONE = """
import asyncio, datetime as dt, sys
from pathlib import Path
from adapters.dukcapil.sandbox.server import RegistrySandboxSettings, open_sandbox

async def main():
    sandbox = await open_sandbox(RegistrySandboxSettings(
        directory=Path(sys.argv[1]), gateway_jwks=sys.argv[2], token=sys.argv[3], callbacks=True,
        callback_url=sys.argv[4], work_seconds=float(sys.argv[5]),
        clock=lambda: dt.datetime(2025, 3, 20, 2, 0, tzinfo=dt.UTC),
    ))
    print(await sandbox.start(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def issued(desk: Bench, record: BirthRecord | None = None) -> Certificate:
    outcome = await desk.adapter.submit(desk.submission(record))
    assert outcome.certificate is not None
    return outcome.certificate


# ---------------------------------------------------------------------------------------------------- numbers


async def test_numbers_are_never_given_twice_and_all_invented_ones_are_90xx(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        outcomes = [await issued(desk) for _ in range(230)]
    niks = [c.child_nik.reveal() for c in outcomes]
    assert len(set(niks)) == len({c.number for c in outcomes}) == 230
    assert {nik[12:14] for nik in niks} == {"90"}
    assert {nik[6:12] for nik in niks} == {"110325"}
    assert niks[0].startswith("351016")
    assert {nik[:6] for nik in niks[100:]} == {"351001", "351002"}
    assert outcomes[-1].number == "3510-LU-20032025-0230"


async def test_a_girl_s_nik_has_her_day_plus_forty(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        certificate = await issued(desk, birth_record(child=child(sex=Sex.FEMALE, born_on=dt.date(2025, 3, 19))))
    assert certificate.child_nik.reveal() == "3510165903259000"


@pytest.mark.parametrize(("days", "kind"), [(60, "LU"), (61, "LT")])
async def test_a_report_after_more_than_sixty_days_is_late(tmp_path: Path, days: int, kind: str) -> None:
    born = dt.date(2025, 3, 20) - dt.timedelta(days=days)
    async with bench(tmp_path) as desk:
        assert (await issued(desk, birth_record(child=child(born_on=born)))).number.startswith(f"3510-{kind}-")


async def test_the_office_s_day_is_local(tmp_path: Path) -> None:
    clock = Clock(dt.datetime(2025, 3, 20, 17, 30, tzinfo=dt.UTC))  # 00.30 WIB on the 21st
    async with bench(tmp_path, clock=clock) as desk:
        assert (await issued(desk)).number == "3510-LU-21032025-0001"


async def test_without_a_family_card_a_new_one_is_made_and_foreigners_get_none(tmp_path: Path) -> None:
    foreign = {"nik": None, "citizenship": "WNA", "travel_document": Personal("X90000001")}
    async with bench(tmp_path) as desk:
        made = await issued(desk, birth_record(family_card=None))
        none = await issued(desk, birth_record(family_card=None, mother=mother(**foreign), father=father(**foreign)))
    assert made.family_card.reveal() == "3510162003259000"
    assert (none.family_card.reveal(), none.child_nik.reveal()) == ("", "")


async def test_a_stillbirth_gets_a_letter_and_neither_akta_nor_nik(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        letter = await issued(desk, birth_record(event=Event.STILLBIRTH, child=child(name=None)))
        assert (letter.number, letter.child_nik.reveal()) == ("3510-LM-20032025-0001", "")
        assert b"SURAT KETERANGAN LAHIR MATI" in await desk.adapter.fetch_document(letter)


# --------------------------------------------------------------------------------------------------- keeping


async def test_a_stopped_sandbox_goes_on_with_the_same_records_and_keys(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        submission = desk.submission()
        first = await desk.adapter.submit(submission)
        keys = await jwks(desk)
    async with bench(tmp_path) as desk:
        assert await desk.adapter.submit(submission) == first
        assert await jwks(desk) == keys
        assert (await desk.ask(submission)).status is RegistryStatus.IN_PROCESS


async def test_a_killed_sandbox_loses_no_case_and_no_callback(tmp_path: Path) -> None:
    async with mailbox(*[503] * 3) as box:
        arguments = [str(tmp_path / "registry"), gateway_jwks(tmp_path), TOKEN, box.url, "0.4"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STAND_ALONE, *arguments, stdout=asyncio.subprocess.PIPE, env={**os.environ}
        )
        try:
            assert process.stdout is not None
            url = (await process.stdout.readline()).decode().strip()
            async with bench(tmp_path / "unused", adapter={"url": url}) as client:
                submission = client.submission()
                assert (await client.adapter.submit(submission)).status is RegistryStatus.IN_PROCESS
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        async with bench(tmp_path, callbacks=True, callback_url=box.url, work_seconds=0.4) as desk:
            for _ in range(4):  # three refused, then one taken
                headers, body = await box.next()
            outcome = await desk.adapter.read_callback(headers, body)
            assert outcome.status is RegistryStatus.ISSUED
            assert outcome == await desk.ask(submission)


async def test_a_full_disk_for_a_while_stops_no_case_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, failing = Records.transaction, [True, True]

    @contextlib.contextmanager
    def transaction(records: Records) -> Iterator[None]:
        with whole(records):
            yield
            if failing and failing.pop():
                raise sqlite3.OperationalError

    async with mailbox() as box, bench(tmp_path, callbacks=True, callback_url=box.url, work_seconds=0.1) as desk:
        outcome = await desk.adapter.submit(desk.submission())
        monkeypatch.setattr(Records, "transaction", transaction)
        headers, body = await box.next()
        issued_then = await desk.adapter.read_callback(headers, body)
    assert not failing
    assert (outcome.status, issued_then.status) == (RegistryStatus.IN_PROCESS, RegistryStatus.ISSUED)


async def test_keys_and_records_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    async with bench(tmp_path):
        for name in ("registry-key.pem", "registry.sqlite3"):
            assert stat.S_IMODE((tmp_path / "registry" / name).stat().st_mode) == 0o600


async def test_the_list_of_records_holds_nothing_about_people(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        await issued(desk)
        (record,) = await desk.records()
    assert record.keys() == {"no", "id_kasus", "revisi", "status", "no_akta", "kode"}


# --------------------------------------------------------------------------------------------------- revisions


async def test_a_newer_revision_waits_for_the_older_and_replaces_one_that_lacked_data(tmp_path: Path) -> None:
    async with bench(tmp_path, work_seconds=3600) as desk:
        first = desk.submission()
        second = desk.submission(birth_id=first.birth_id, revision=2)
        begun = await desk.adapter.submit(first)
        busy = await desk.adapter.submit(second)
        assert (busy.status, busy.reference) == (RegistryStatus.IN_PROCESS, begun.reference)
        desk.behave(needs_data_next="BERKAS_KURANG", work_seconds=0)
        third = desk.submission()
        asked = await desk.adapter.submit(third)
        assert (asked.status, asked.reason) == (RegistryStatus.NEEDS_DATA, "BERKAS_KURANG")
        fourth = await desk.adapter.submit(desk.submission(birth_id=third.birth_id, revision=2))
        assert fourth.status is RegistryStatus.ISSUED
        assert (await desk.ask(third)).status is RegistryStatus.WITHDRAWN


async def test_many_same_submissions_at_once_make_one_case(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        submission = desk.submission()
        outcomes = await asyncio.gather(*(desk.adapter.submit(submission) for _ in range(20)))
        assert len({o.certificate.number for o in outcomes if o.certificate}) == 1
        assert len(await desk.records()) == 1


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (birth_record(child=child(name=Personal("BAYI 1"))), "NAMA_TIDAK_SAH"),
        (birth_record(child=child(name=Personal("A" * 61))), "NAMA_TIDAK_SAH"),
        (birth_record(child=child(name=None)), "BERKAS_KURANG"),
        (birth_record(child=child(sex=None)), "BERKAS_KURANG"),
        (birth_record(mother=None), "BERKAS_KURANG"),
    ],
)
async def test_the_counter_refuses_what_no_akta_can_be_written_from(
    tmp_path: Path, record: BirthRecord, code: str
) -> None:
    async with bench(tmp_path) as desk:
        with pytest.raises(RegistryRefusedError) as raised:
            await desk.adapter.submit(desk.submission(record))
        assert raised.value.reason == code
        assert await desk.records() == []


async def test_a_foundling_is_registered_without_parents(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        record = birth_record(variant=Variant.NO_PARENTS, mother=None, father=None, family_card=None)
        assert (await issued(desk, record)).child_nik.reveal().startswith("351001")


# --------------------------------------------------------------------------------------------------- behaviour


async def test_callbacks_come_twice_or_never_when_told_so(tmp_path: Path) -> None:
    async with mailbox() as box, bench(tmp_path, callbacks=True, callback_url=box.url) as desk:
        desk.behave(drop_callbacks=True)
        await issued(desk)
        desk.behave(drop_callbacks=False, duplicate_callbacks=True)
        number = (await issued(desk)).number
        for _ in range(2):
            assert json.loads((await box.next())[1])["terbit"]["no_akta"] == number
        assert box.letters.empty()


async def test_each_step_is_told_when_told_so(tmp_path: Path) -> None:
    async with mailbox() as box, bench(tmp_path, callbacks=True, callback_url=box.url, work_seconds=0.04) as desk:
        desk.behave(tell_steps=True)
        await desk.adapter.submit(desk.submission())
        told = [json.loads((await box.next())[1])["status"] for _ in range(4)]
        assert sorted(told) == ["DISETUJUI", "TANDA_TANGAN", "TERBIT", "VERIFIKASI"]


async def test_a_late_callback_is_overtaken_when_told_so(tmp_path: Path) -> None:
    async with mailbox() as box, bench(tmp_path, callbacks=True, callback_url=box.url) as desk:
        desk.behave(late_callback_rate=1.0)
        late = (await issued(desk)).number
        desk.behave(late_callback_rate=0.0)
        number = (await issued(desk)).number
        told = [json.loads((await box.next())[1])["terbit"]["no_akta"] for _ in range(2)]
        assert told == [number, late]


async def test_a_copy_that_lags_shows_what_was_when_told_so(tmp_path: Path) -> None:
    clock = Clock()
    async with bench(tmp_path, clock=clock) as desk:
        submission = desk.submission()
        assert (await desk.adapter.submit(submission)).status is RegistryStatus.ISSUED
        desk.behave(stale_rate=1.0)
        assert (await desk.ask(submission)).status is RegistryStatus.UNKNOWN  # too young for the copy
        clock.advance(seconds=2)
        assert (await desk.ask(submission)).status is RegistryStatus.IN_PROCESS
        desk.behave(stale_rate=0.0)
        assert (await desk.ask(submission)).status is RegistryStatus.ISSUED


async def test_callbacks_wait_until_their_address_is_known(tmp_path: Path) -> None:
    async with mailbox() as box, bench(tmp_path, callbacks=True) as desk:
        await issued(desk)
        assert box.letters.empty()
        desk.sandbox.send_callbacks_to(box.url)
        assert json.loads((await box.next())[1])["status"] == "TERBIT"


async def test_refusals_at_the_counter_can_be_ordered(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        for key, refused in (("refuse_next", 1), ("refuse", 3)):
            desk.behave(**{key: "PERLU_HADIR"})
            for _ in range(refused):
                with pytest.raises(RegistryRefusedError) as raised:
                    await issued(desk)
                assert raised.value.reason == "PERLU_HADIR"
            desk.behave(refuse="")
            await issued(desk)


async def test_a_rejection_after_verification_can_be_ordered(tmp_path: Path) -> None:
    async with mailbox() as box, bench(tmp_path, callbacks=True, callback_url=box.url, work_seconds=0.1) as desk:
        desk.behave(reject_next="KK_TIDAK_SESUAI")
        await desk.adapter.submit(desk.submission())
        outcome: Outcome = await desk.adapter.read_callback(*await box.next())
        assert (outcome.status, outcome.reason) == (RegistryStatus.REFUSED, "KK_TIDAK_SESUAI")
        assert outcome.text == "Nomor KK tidak sesuai"


async def test_behaviour_is_read_and_set_over_http(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        url = f"{desk.url}/sandbox/behaviour"
        async with desk.http.put(url, json={"outage": True, "error_rate": 0.5}) as response:
            assert response.status == 200
        async with desk.http.get(url) as response:
            shown = await response.json()
        assert (shown["outage"], shown["error_rate"], shown["latency_ms"]) == (True, 0.5, 0)
        wrongs: list[Any] = [{"outages": True}, {"outage": 1}, {"error_rate": 2}, {"latency_ms": 1.5}, {"seed": -1}, []]
        for wrong in wrongs:
            async with desk.http.put(url, json=wrong) as response:
                assert response.status == 400


def test_behaviour_names_what_is_wrong_and_the_same_seed_throws_the_same() -> None:
    with pytest.raises(ConfigError, match=r"behaviour\.garbage_rate"):
        Behaviour().changed({"garbage_rate": "often"})
    assert Behaviour().changed({"work_seconds": 3}).changed({"work_seconds": None}) == Behaviour()
    throws = [[dice.falls(0.5) for _ in range(64)] for dice in (Dice(7), Dice(7), Dice(8))]
    assert throws[0] == throws[1] != throws[2]


async def test_a_sandbox_opens_by_plain_values_and_names_a_wrong_one(tmp_path: Path) -> None:
    values: dict[str, Any] = {"directory": tmp_path, "gateway_jwks": "", "token": TOKEN}
    sandbox = await open_sandbox(**values, behaviour={"latency_ms": 5})
    assert sandbox.conduct.now.latency_ms == 5
    await sandbox.stop()
    for wrong in ({"prot": 1}, {"behaviour": {"latency": 5}}):
        with pytest.raises(ConfigError, match=r"prot|latency"):
            await open_sandbox(**values, **wrong)


async def test_without_a_token_nobody_gets_in(tmp_path: Path) -> None:
    async with bench(tmp_path, token="") as desk:
        for token in ("", "Bearer ", f"Bearer {TOKEN}"):
            async with desk.http.get(
                f"{desk.url}/api/v1/kelahiran/P3510-00000001", headers={"Authorization": token}
            ) as response:
                assert response.status == 401


async def test_an_old_or_missing_time_is_refused(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        submission = desk.submission()
        for sent in ("", "2025-03-20T02:00:00", "2025-03-20T01:54:59Z"):
            headers = {
                "Authorization": f"Bearer {TOKEN}",
                "Idempotency-Key": submission.idempotency_key,
                "X-Tanda-Tangan": submission.signature,
                "X-Waktu": sent,
            }
            async with desk.http.post(
                f"{desk.url}/api/v1/kelahiran", data=submission.payload, headers=headers
            ) as response:
                assert (response.status, (await response.json())["kode"]) == (401, "WAKTU_TIDAK_SAH")


# ------------------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("serial", "expected"),
    [
        ("9000", Standing.KNOWN),
        ("9009", Standing.KNOWN),
        ("9010", Standing.NOT_FOUND),
        ("9011", Standing.DECEASED),
        ("9015", Standing.WRONG_FORMAT),
        ("9016", Standing.NOT_FOUND),
        ("9060", Standing.OTHER_NAME),
        ("9069", Standing.OTHER_NAME),
        ("9070", Standing.NOT_FOUND),
        ("0001", Standing.NOT_FOUND),
    ],
)
def test_people_are_known_by_their_last_four_digits(serial: str, expected: Standing) -> None:
    assert standing(f"351016520395{serial}") is expected


def test_the_specimen_is_the_same_for_the_same_case_and_bears_any_name() -> None:
    at = dt.datetime(2025, 3, 20, 9, 0, tzinfo=dt.timezone(dt.timedelta(hours=7)))
    rows = {"NAME": "ZOË \\ (ΩΜΕΓΑ) 阿明 " + "M" * 60}
    made = [certificate.render(certificate.Extract(n, "Kantor", at, rows)) for n in ("A", "A", "B")]
    assert made[0] == made[1] != made[2]
    assert len({len(pdf) for pdf in made}) == 1  # the offsets of the file stay true


def test_a_broken_transaction_leaves_nothing(tmp_path: Path) -> None:
    records = Records(tmp_path / "r.sqlite3")

    def add_and_fail() -> None:
        with records.transaction():
            records.add("b-1", 1, digest=b"", payload="{}", received_at="")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        add_and_fail()
    assert records.overview() == []
    records.close()


async def test_two_hundred_births_a_second_are_taken(tmp_path: Path) -> None:
    async with bench(tmp_path) as desk:
        submissions = [desk.submission() for _ in range(300)]
        begun = time.perf_counter()
        await asyncio.gather(*(desk.adapter.submit(s) for s in submissions))
        seconds = time.perf_counter() - begun
    assert seconds < 6, f"{300 / seconds:.0f} births/s"  # a quarter of the goal, for slow and busy machines


async def jwks(desk: Bench) -> Any:
    async with desk.http.get(f"{desk.url}/.well-known/jwks.json") as response:
        return await response.json()
