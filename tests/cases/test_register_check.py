"""Cases 88 to 92: the form's people, and what the population register says of the parents."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from adapters.dukcapil.adapter import open_dukcapil
from adapters.dukcapil.replies import parse_check, parse_look_up
from gateway.contract.finding import Finding, catalogue
from gateway.contract.lifecycle import State
from gateway.contract.masked import Nik, Personal
from gateway.contract.ports import RegistrySettings
from gateway.pipeline import operate
from gateway.pipeline.rejudge import state_of
from gateway.store.queue import Kind
from tests.cases.case import case
from tests.cases.seen import born, seen
from tests.integration.test_form import REPORTER, WITNESSES, tell
from tests.simulators.journey import journey, notice
from tests.simulators.records import FATHER_NIK, birth_record, father, mother
from tests.simulators.registry import Clock, bench
from tests.simulators.scripted_registry import checks

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.contract.ports import ParentCheck
    from gateway.contract.record import BirthRecord
    from tests.simulators.journey import Journey

NO_FORM = ("PID", "NK1", "PV1", "OBX")
AGREES = b'{"content": [{"NIK": "Sesuai", "NAMA_LGKP": "Sesuai (100)", "TGL_LHR": "Sesuai", "JENIS_KLMIN": "Sesuai"}]}'


def about(checked: tuple[ParentCheck, ...], parent: str) -> list[tuple[str, str]]:
    """Return code and severity of what the register finds wrong with a parent."""
    (check,) = [c for c in checked if c.parent == parent]
    return [(f.code, f.severity) for f in check.findings]


def leads_to(checked: tuple[ParentCheck, ...]) -> State:
    return state_of([f for check in checked for f in check.findings], frozenset())


async def asked(tmp_path: Path, record: BirthRecord, **adapter: Any) -> tuple[ParentCheck, ...]:
    """Ask the sandbox's register about a record's parents."""
    async with bench(tmp_path, adapter=adapter) as desk:
        checked: tuple[ParentCheck, ...] = await desk.adapter.check_parents(record)
        return checked


# ------------------------------------------------------------------------------------------------------ the form


@case(88)
async def test_f088_without_reporter_and_witnesses_the_birth_waits_and_says_whom_it_lacks(
    database: str, tmp_path: Path
) -> None:
    """Reporter or witnesses missing: AWAIT_FORM, each of them named; the form completes the birth."""
    async with journey(database, tmp_path, require_form=True) as way:
        assert "FORM_INCOMPLETE" in seen(notice(segments=NO_FORM), require_form=True).codes
        await way.tell(notice(segments=NO_FORM))
        await way.step(Kind.ASSIGN)
        assert await way.state() is State.AWAIT_FORM
        (row,) = await way.database.fetch("SELECT missing FROM births")
        assert row["missing"] == ["reporter", "witness_1", "witness_2", "marriage", "consent"]
        answer = await tell(way, {"reporter": REPORTER, "witnesses": WITNESSES, "marriage": {"status": "SPTJM"}})
        assert (answer["state"], [m["item"] for m in answer["missing"]]) == ("READY", ["consent"])


@case(88)
@pytest.mark.parametrize(
    ("second", "code"),
    [
        ("3510161508709001", "WITNESS_TWICE"),
        (FATHER_NIK, "WITNESS_IS_PARENT"),
        ("3510165811109001", "WITNESS_AGE"),
        ("351016581175900", "WITNESS_NIK_LENGTH"),
    ],
)
async def test_f088_a_witness_who_cannot_be_one_is_told_apart(
    database: str, tmp_path: Path, second: str, code: str
) -> None:
    """The same person twice, a parent, somebody under 21, no NIK: each is its own finding, and the birth waits."""
    async with journey(database, tmp_path, require_form=True) as way:
        await way.tell(notice(changes=(("3510165811759001", second),)))
        await way.step(Kind.ASSIGN)
        birth = await way.birth()
        assert birth.state is State.AWAIT_FORM
        assert code in {f["code"] for f in birth.findings}


# ------------------------------------------------------------------------------------------------ family cards


@case(89)
def test_f089_parents_in_two_family_cards_are_told_and_not_held() -> None:
    """Mother and father in different KK: a warning, the office decides where the baby goes."""
    cards = {
        "NK1#1-33": "3510165203959001^^^DUKCAPIL^NI~3510161405189001^^^DUKCAPIL^KK",
        "NK1#2-33": "3510160407929001^^^DUKCAPIL^NI~3510160101159009^^^DUKCAPIL^KK",
    }
    told = seen(born(cards))
    assert (told.code, told.state, told.codes) == ("AA", State.READY, {"PARENTS_KK_DIFFER"})
    assert "Tanyakan kepada orang tua" in told.texts["PARENTS_KK_DIFFER"]


class _Register:
    """A register that answers as told, and whose full record says that somebody is a child in the parents' card."""

    def __init__(self, answer: bytes = AGREES) -> None:
        self.answer = answer

    async def check(self, path: str, request: Any) -> Any:
        return parse_check(self.answer)

    async def look_up(self, path: str, request: Any) -> Any:
        record = f'{{"content": [{{"NIK": {request["NIK"]}, "NO_KK": 3510160101159009, "STAT_HBKEL": "ANAK"}}]}}'
        return parse_look_up(record.encode())

    async def close(self) -> None:
        return None


def adapter_of(register: _Register, **options: str) -> Any:
    adapter: Any = open_dukcapil(
        RegistrySettings(url="http://registry.invalid", clock=Clock(), check_user="GATEWAY", options=options)
    )
    adapter._checks._client = register
    return adapter


@case(89)
async def test_f089_a_card_the_register_knows_otherwise_is_a_warning() -> None:
    """The register's NO_KK differs: a warning to ask the family, nothing is held."""
    other = AGREES.replace(b'"JENIS_KLMIN"', b'"NO_KK": "Tidak Sesuai", "JENIS_KLMIN"')
    checked = await adapter_of(_Register(other)).check_parents(birth_record())
    assert about(checked, "father") == [("FATHER_KK_MISMATCH", "W")]
    assert leads_to(checked) is State.READY


@case(
    90,
    decision="It is seen only where the agreement grants the full record and the KK is missing "
    "(registry.options.look_up): the element check returns no STAT_HBKEL, and more is not asked for than is missing.",
)
async def test_f090_a_mother_who_is_a_child_in_a_card_is_for_an_officer() -> None:
    """The mother is ANAK in her parents' KK: the card is learnt, and an officer sees that the baby is a CUCU."""
    checked = await adapter_of(_Register(), look_up="CALL_NIK").check_parents(birth_record(family_card=None))
    assert about(checked, "mother") == [("MOTHER_CHILD_IN_KK", "W")]
    assert about(checked, "father") == []
    assert checked[0].learned == {"mother.family_card": Personal("3510160101159009")}
    assert leads_to(checked) is State.REVIEW
    assert "CUCU" in catalogue()["MOTHER_CHILD_IN_KK"].text_id


# --------------------------------------------------------------------------------------------------------- scores


@case(91)
async def test_f091_a_name_that_nearly_agrees_is_for_an_officer(tmp_path: Path) -> None:
    """A name score of 85 lies between the thresholds: a warning with the score, and an officer reviews."""
    checked = await asked(tmp_path, birth_record(mother=mother(nik=Nik("3510165203959061"))))
    assert about(checked, "mother") == [("MOTHER_NAME_MISMATCH", "W")]
    (found,) = checked[0].findings
    assert found.parameters == {"score": "85"}
    assert leads_to(checked) is State.REVIEW


@case(91)
async def test_f091_the_threshold_of_a_field_is_a_setting(tmp_path: Path) -> None:
    """Where the office's threshold for names is 85, the same score agrees."""
    record = birth_record(mother=mother(nik=Nik("3510165203959061")))
    checked = await asked(tmp_path, record, options={"name_threshold": "85"})
    assert leads_to(checked) is State.READY


# ------------------------------------------------------------------------------------------- states of a person


@case(92)
@pytest.mark.parametrize(
    ("serial", "problem"), [("9011", "NIK_DECEASED"), ("9012", "NIK_DUPLICATE"), ("9014", "NIK_INACTIVE")]
)
async def test_f092_a_deceased_double_or_inactive_nik_is_reviewed(tmp_path: Path, serial: str, problem: str) -> None:
    """Deceased (11), double (12), inactive (14): an officer reviews; nothing is refused by itself."""
    checked = await asked(tmp_path, birth_record(father=father(nik=Nik(f"351016040792{serial}"))))
    assert about(checked, "father") == [(f"FATHER_{problem}", "W")]
    assert leads_to(checked) is State.REVIEW


@case(92)
async def test_f092_what_an_officer_accepted_goes_on(way: Journey) -> None:
    """Released by a person, a birth whose mother is recorded as deceased goes on to the registry."""
    deceased = checks(Finding("MOTHER_NIK_DECEASED"))
    way.registry.on_check.extend([deceased, deceased])
    await way.tell(notice())
    await way.work()
    assert await way.state() is State.REVIEW
    assert way.registry.submissions == []
    await operate.release(replace(way.desk(), config=way.context.config), (await way.birth()).id)
    await way.work()
    assert await way.state() is State.IN_PROCESS
    assert len(way.registry.submissions) == 1
