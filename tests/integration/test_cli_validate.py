"""`procot validate` as a person and a script meet it: offline, files and folders, exit statuses."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from gateway.mllp.framing import frame
from tests.integration.test_cli import config_file, lines, procot, said
from tests.simulators.facilities import HOSPITAL, SAMPLES, sample
from tests.simulators.journey import RENAMED, notice

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

GOOD, WRONG = notice(), sample("10")
REJECTED = sample("01").replace(b"|2.5|", b"|3.0|")


def objects(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return the JSON lines of a command whatever its exit status."""
    return [json.loads(line) for line in done.stdout.splitlines()]


def validate(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return procot("validate", *arguments, stdin=stdin)


@pytest.mark.parametrize(
    ("content", "status"), [(GOOD, 0), (GOOD + WRONG, 1), (GOOD + REJECTED, 1)], ids=["AA", "AE", "AR"]
)
def test_the_exit_status_tells_whether_all_are_accepted(content: bytes, status: int) -> None:
    assert validate("-", stdin=content).returncode == status


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_judged(tmp_path: Path) -> None:
    (tmp_path / "good.hl7").write_bytes(GOOD)
    done = validate(tmp_path / "absent.hl7", tmp_path / "good.hl7")
    assert done.returncode == 2
    assert "absent.hl7: cannot be read (No such file" in said(done)
    assert re.search(r"^1 +1 +0 +0 +1 *$", done.stdout, re.MULTILINE)


def test_where_there_is_no_message_nothing_was_judged(tmp_path: Path) -> None:
    for done in (validate("-", stdin=b"\r\n"), validate(tmp_path)):
        assert done.returncode == 2
        assert "there is no HL7 message in there" in said(done)


def test_a_person_sees_each_finding_with_place_sentence_and_what_follows_and_a_summary() -> None:
    done = validate("-", "--lang", "en", stdin=GOOD + WRONG)
    assert re.search(r"^CA/AE +RSC20250316000005 +ADT\^A01 +open", done.stdout, re.MULTILINE)
    assert "E MOTHER_MISSING  PID-21: The mother is missing" in done.stdout
    assert "Kept, but it must be corrected" in done.stdout
    assert re.search(r"^messages +AA +AE +AR *\n2 +1 +1 +0 *$", done.stdout, re.MULTILINE)
    assert re.search(r"^1 +E +MOTHER_MISSING *$", done.stdout, re.MULTILINE)


def test_findings_are_in_indonesian_unless_asked_otherwise() -> None:
    assert "Data ibu tidak ada" in validate("-", stdin=WRONG).stdout


def test_json_is_one_object_a_message_and_nothing_else() -> None:
    first, second = objects(validate("-", "--json", stdin=GOOD + WRONG))
    assert (first["file"], first["result"], first["effect"], first["facility"]) == ("-", "AA", "open", HOSPITAL)
    assert (second["control_id"], second["code"], second["result"]) == ("RSC20250316000005", "CA", "AE")
    assert "MOTHER_MISSING" in {f["code"] for f in second["findings"]}


@pytest.mark.parametrize("kind", ["plain", "mllp", "lf", "batch"])
def test_a_file_may_be_wrapped_as_for_send(kind: str) -> None:
    messages = [GOOD, notice(record_number="00450122")]
    whole = b"".join(messages)
    content = {
        "plain": whole,
        "mllp": b"".join(map(frame, messages)),
        "lf": whole.replace(b"\r", b"\n"),
        "batch": b"FHS|^~\\&\rBHS|^~\\&\r" + whole + b"BTS|2\rFTS|1\r",
    }[kind]
    assert [item["result"] for item in lines(validate("-", "--json", stdin=content))] == ["AA", "AA"]


def test_a_batch_that_says_another_count_is_remarked_beside_the_verdicts() -> None:
    done = validate("-", "--json", stdin=b"BHS|^~\\&\r" + GOOD + b"BTS|2\r")
    assert [item["result"] for item in lines(done)] == ["AA"]
    assert "batch 1: BTS-1 says 2, 1 came" in done.stderr


def test_a_folder_is_searched_to_its_depth_and_files_without_hl7_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.hl7").write_bytes(WRONG)
    (tmp_path / "a" / "one.hl7").write_bytes(GOOD)
    (tmp_path / "a" / "b" / "two").write_bytes(GOOD)
    (tmp_path / "a" / "notes.md").write_bytes(b"nothing here\n")
    done = validate(tmp_path, "--json")
    assert [item["file"] for item in lines(done)] == [str(tmp_path / "a/b/two"), str(tmp_path / "a/one.hl7")]
    assert "files without HL7" in validate(tmp_path).stdout


def test_a_file_named_hl7_that_holds_none_is_judged_as_the_gateway_would(tmp_path: Path) -> None:
    (tmp_path / "broken.hl7").write_bytes(b"PID|1||1\r")
    (item,) = objects(validate(tmp_path, "--json"))
    assert (item["result"], [f["code"] for f in item["findings"]]) == ("AR", ["MSH_UNREADABLE"])


def test_the_samples_of_the_project_are_judged_as_the_manifest_has_them() -> None:
    items = objects(validate(*sorted(SAMPLES.glob("*.hl7")), "--json"))
    assert {item["file"].rpartition("/")[2][:2]: item["result"] for item in items if item["result"] != "AA"} == {
        "09": "AE",
        "10": "AE",
    }


def test_an_update_is_judged_as_for_a_known_birth() -> None:
    (item,) = lines(validate("-", "--json", stdin=notice("A31", changes=RENAMED)))
    assert (item["assumed"], item["effect"]) == ("known_birth", "amend")


# ---------------------------------------------------------------------------------------------------------- facilities


def test_without_a_configuration_any_facility_is_known_and_none_is_not() -> None:
    stranger, nobody = GOOD.replace(HOSPITAL.encode(), b"RSU BARU"), GOOD.replace(f"{HOSPITAL}^3510999^L".encode(), b"")
    known, unknown = objects(validate("-", "--json", stdin=stranger + nobody))
    assert (known["facility"], known["result"]) == ("RSU BARU", "AA")
    assert [f["code"] for f in unknown["findings"]] == ["FACILITY_UNKNOWN"]


def test_with_a_configuration_its_facilities_are_and_their_networks_do_not_matter(tmp_path: Path) -> None:
    config = config_file(tmp_path, facility=f'code = "{HOSPITAL}"\nregion = "3510"\npeers = ["10.0.0.0/8"]\n')
    stranger = GOOD.replace(HOSPITAL.encode(), b"RSU BARU")
    known, unknown = objects(validate("-", "--json", "--config", config, stdin=GOOD + stranger))
    assert known["result"] == "AA"
    assert [f["code"] for f in unknown["findings"]] == ["FACILITY_UNKNOWN"]


def test_a_message_is_judged_as_the_facility_named_whatever_its_msh_4(tmp_path: Path) -> None:
    config = config_file(tmp_path, facility=f'code = "{HOSPITAL}"\nregion = "3510"\napplications = ["OTHER"]\n')
    stranger = GOOD.replace(HOSPITAL.encode(), b"RSU BARU")
    (item,) = objects(validate("-", "--json", "--config", config, "--facility", HOSPITAL, stdin=stranger))
    assert [f["code"] for f in item["findings"]] == ["APPLICATION_NOT_ALLOWED"]
    done = validate("-", "--config", config, "--facility", "RSU BARU", stdin=GOOD)
    assert (done.returncode, "has no [[facility]] with this code" in said(done)) == (1, True)


# ----------------------------------------------------------------------------------------------------------- reference


def test_hl7apy_is_set_beside_ours_with_its_own_words_and_where_it_differs() -> None:
    without_class = notice(changes=(("PV1|1|I|", "PV1|1||"),))
    good, wrong = objects(validate("-", "--json", "--reference", stdin=GOOD + without_class))
    assert (good["reference"]["valid"], good["reference"]["agrees"], good["reference"]["errors"]) == (True, True, [])
    assert wrong["reference"]["valid"] is False
    assert wrong["reference"]["errors"] == ["Missing required child PV1.PV1_2"]
    assert wrong["reference"]["agrees"] is (wrong["result"] == "AE")


def test_what_is_wrong_with_the_birth_is_no_disagreement_with_hl7apy() -> None:
    (item,) = objects(validate("-", "--json", "--reference", stdin=WRONG))
    assert (item["result"], item["reference"]["valid"], item["reference"]["agrees"]) == ("AE", True, True)


def test_what_hl7apy_cannot_parse_is_its_verdict(tmp_path: Path) -> None:
    file = tmp_path / "broken.hl7"
    file.write_bytes(b"PID|1||1\r")
    (item,) = objects(validate(file, "--json", "--reference"))
    assert item["reference"]["valid"] is False
    assert "hl7apy: 1 errors" in validate(file, "--reference").stdout


def test_numbers_of_persons_are_masked_in_its_words() -> None:
    done = validate("-", "--json", "--reference", stdin=notice(changes=(("^KK||", "^3510161405189001||"),)))
    (item,) = objects(done)
    assert not re.search(r"\d{16}", json.dumps(item["reference"]))


def test_nothing_is_written_and_no_gateway_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert validate("-", stdin=GOOD).returncode == 0
    assert list(tmp_path.iterdir()) == []
