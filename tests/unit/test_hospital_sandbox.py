"""The hospital sandbox: answers, and one file a message."""

from __future__ import annotations

import datetime as dt
import stat
from typing import TYPE_CHECKING

import pytest

from adapters.hospital.sandbox import Behaviour, HospitalSandbox, HospitalSandboxSettings, open_sandbox
from tests.simulators.facilities import message_of, sample

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2025, 3, 11, 4, 0, tzinfo=dt.UTC)
MDM = b"MSH|^~\\&|AKTAGW|DISDUKCAPIL 3510|SIMRS|RS|20250311104500+0700||MDM^T02^MDM_T02|GW1|P|2.5\rEVN|T02\r"


def sandbox(directory: Path, behaviour: Behaviour | None = None) -> HospitalSandbox:
    return HospitalSandbox(directory / "inbox", behaviour=behaviour, clock=lambda: NOW)


def msa(answers: list[bytes]) -> tuple[str, str]:
    assert len(answers) == 1
    message = message_of(answers[0])
    return str(message.value("MSA", 1)), str(message.value("MSA", 2))


def test_original_mode_is_answered_aa_and_kept_as_it_came(tmp_path: Path) -> None:
    hospital = sandbox(tmp_path)
    answers = hospital.handle(MDM)
    assert msa(answers) == ("AA", "GW1")
    assert message_of(answers[0]).value("MSH", 5) == "AKTAGW"
    (file,) = (tmp_path / "inbox").iterdir()
    assert file.name == "20250311T040000000000Z-MDM_T02-GW1.hl7"
    assert file.read_bytes() == MDM
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_repeat_is_answered_and_not_kept_again(tmp_path: Path) -> None:
    hospital = sandbox(tmp_path)
    hospital.handle(MDM)
    assert msa(hospital.handle(MDM)) == ("AA", "GW1")
    assert msa(sandbox(tmp_path).handle(MDM)) == ("AA", "GW1")  # nor after a restart
    assert len(list((tmp_path / "inbox").iterdir())) == 1
    hospital.handle(MDM + b"PID|1||2\r")  # the same id, other bytes
    assert len(list((tmp_path / "inbox").iterdir())) == 2


@pytest.mark.parametrize(
    ("marks", "answer", "expected"),
    [
        ("AL|AL", "accept", "CA"),
        ("SU|NE", "accept", "CA"),
        ("AL|NE", "AE", "CE"),
        ("ER|NE", "AR", "CR"),
        ("NE|AL", "accept", "AA"),
        ("NE|ER", "AE", "AE"),
        ("NE|NE", "accept", ""),
        ("ER|NE", "accept", ""),
        ("|", "AE", "AE"),
        ("|", "AR", "AR"),
    ],
)
def test_modes_and_refusals(tmp_path: Path, marks: str, answer: str, expected: str) -> None:
    raw = MDM.replace(b"|P|2.5\r", f"|P|2.5|||{marks}\r".encode())
    behaviour = Behaviour(answer=answer)  # type: ignore[arg-type]
    answers = sandbox(tmp_path, behaviour).handle(raw)
    assert [str(message_of(a).value("MSA", 1)) for a in answers] == ([expected] if expected else [])


def test_silence_and_a_wrong_msa_2(tmp_path: Path) -> None:
    hospital = sandbox(tmp_path, Behaviour(silent=True))
    assert hospital.handle(MDM) == []
    assert hospital.handle(b"junk") == []
    hospital.behaviour = Behaviour(wrong_control_id=True)
    code, control_id = msa(hospital.handle(MDM))
    assert (code, control_id != "GW1") == ("AA", True)
    assert len(list((tmp_path / "inbox").iterdir())) == 2


def test_what_cannot_be_read_is_answered_and_kept(tmp_path: Path) -> None:
    assert msa(sandbox(tmp_path).handle(b"\x00junk")) == ("AR", "")
    (file,) = (tmp_path / "inbox").iterdir()
    assert "UNREADABLE" in file.name


def test_a_control_id_cannot_leave_the_directory(tmp_path: Path) -> None:
    raw = MDM.replace(b"|GW1|", b"|../../etc/passwd|")
    assert msa(sandbox(tmp_path).handle(raw)) == ("AA", "../../etc/passwd")
    (file,) = (tmp_path / "inbox").iterdir()
    assert file.parent == tmp_path / "inbox"
    sandbox(tmp_path).handle(raw.replace(b"../..", b".._.."))
    assert len(list((tmp_path / "inbox").iterdir())) == 2


def test_samples_are_taken_in_their_charset(tmp_path: Path) -> None:
    hospital = open_sandbox(HospitalSandboxSettings(directory=tmp_path / "inbox"))
    assert msa(hospital.handle(sample("11")))[0] == "CA"
    assert msa(hospital.handle(sample("04")))[0] == "AA"
    assert sorted(f.read_bytes() for f in (tmp_path / "inbox").iterdir()) == sorted([sample("11"), sample("04")])
