"""`procot validate`: the gateway's verdict offline. Owns reading files and showing reports; judges nothing itself."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import click
from rich.padding import Padding
from rich.progress import Progress
from rich.text import Text

from gateway import plugins
from gateway.app import engine, utc_now
from gateway.cli.output import as_json, console, emit, errors, table
from gateway.config import Config, load
from gateway.contract.facility import FacilityProfile
from gateway.contract.visible import printable
from gateway.errors import ConfigError
from gateway.hl7.charset import decode
from gateway.mllp.files import envelope_remarks, split_messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cli.reference import Opinion
    from gateway.contract.finding import Finding
    from gateway.pipeline.rehearsal import Language, Rehearsal, Report

_REGION = "3510"  # of a facility nobody configured
_HL7_ENDINGS = frozenset({".hl7", ".txt", ".er7"})  # in a folder; others only where they hold a message
_TOP = 10
_COLOURS = {"A": "green", "E": "yellow", "R": "red"}


class _NothingDoneError(click.ClickException):
    """There was nothing to judge: exit status 2, as for every file that cannot be read."""

    exit_code = 2

    def show(self, file: IO[str] | None = None) -> None:  # noqa: ARG002 - click's signature
        errors.print(f"procot: {self.message}", markup=False, soft_wrap=True)


class _Anybody(Mapping[str, FacilityProfile]):
    """Facilities where none is configured: whatever MSH-4 says is one; or one that stands for them all."""

    def __init__(self, one: FacilityProfile | None = None) -> None:
        self._one = one

    def __getitem__(self, code: str) -> FacilityProfile:
        if not code:
            raise KeyError(code)
        return self._one or FacilityProfile(code=code, region=_REGION)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(slots=True)
class _Run:
    rehearsal: Rehearsal
    language: Language
    json_output: bool
    reference: bool
    results: Counter[str] = field(default_factory=Counter)
    findings: Counter[tuple[str, str]] = field(default_factory=Counter)
    disagreements: int = 0
    unreadable: int = 0
    skipped: int = 0

    @property
    def messages(self) -> int:
        return self.results.total()

    @property
    def status(self) -> int:
        return 2 if self.unreadable else 1 if self.messages - self.results["AA"] else 0


@click.command(short_help="Judge HL7 messages offline, as the gateway would.")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--facility", metavar="CODE", help="judge as this facility's, whatever MSH-4 says")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False),
              help="configuration with the facilities; without one any MSH-4 is known, in region 3510")  # fmt: skip
@click.option("--lang", type=click.Choice(("id", "en")), default="id", show_default=True,
              help="language of the findings")  # fmt: skip
@click.option("--reference", is_flag=True, help="also ask hl7apy's own validator (slow); it may quote values")
@as_json(shown="one object a message, nothing else on standard output")
def validate(
    files: tuple[str, ...], facility: str | None, config: Path | None, lang: str, reference: bool, json_output: bool
) -> None:
    """Judge HL7 messages as the gateway would: offline, nothing is stored.

    FILE may hold one message, many, or a batch, as for `send`; it may be a folder, which is searched to its depth; - is
    standard input. An update (A08, A31, A11, A03) is judged as for a birth that the gateway knows. Exit status: 0 all
    AA, 1 some AE or AR, 2 some file could not be read.
    """
    run = _Run(_rehearsal(config, facility), cast("Language", lang), json_output, reference)
    named = list(_files(files))
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        for name, of_folder in progress.track(named, description="validating"):
            _judge_file(run, name, of_folder)
    if not run.messages and not run.unreadable:
        raise _NothingDoneError(f"{', '.join(files)}: there is no HL7 message in there (one begins with MSH)")
    if not json_output:
        _summary(run)
    sys.exit(run.status)


def _rehearsal(path: Path | None, code: str | None) -> Rehearsal:
    """Return the engine. Addresses and certificates are left out: a file comes from nowhere."""
    config = load(path) if path else Config()
    known = {f.code: f.model_copy(update={"peers": (), "certificates": ()}) for f in config.facility}
    facilities: Mapping[str, FacilityProfile] = known if path else _Anybody()
    if code is not None:
        if path and code not in known:
            raise ConfigError(f"--facility {code}: {path} has no [[facility]] with this code")
        facilities = _Anybody(known.get(code) or FacilityProfile(code=code, region=_REGION))
    names = {f.adapter for f in known.values()} | {FacilityProfile.model_fields["adapter"].default}
    return engine(
        config, facilities=facilities, hospitals={name: plugins.hospital(name) for name in names}, clock=utc_now
    )


# --------------------------------------------------------------------------------------------------------- files


def _files(names: tuple[str, ...]) -> Iterator[tuple[str, bool]]:
    """Yield each file by name, and whether it was found in a folder. Hidden ones there are not looked at."""
    for name in names:
        path = Path(name)
        if name == "-" or not path.is_dir():
            yield name, False
            continue
        for found in sorted(path.rglob("*")):
            if found.is_file() and not any(part.startswith(".") for part in found.relative_to(path).parts):
                yield str(found), True


def _judge_file(run: _Run, name: str, of_folder: bool) -> None:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        _unreadable(run, name, error.strerror or type(error).__name__)
        return
    messages = split_messages(data)
    other = of_folder and Path(name).suffix.lower() not in _HL7_ENDINGS
    if other and not any(message.startswith(b"MSH") for message in messages):
        run.skipped += 1
        return
    for remark in envelope_remarks(data):
        errors.print(f"{name}: {remark}", markup=False, soft_wrap=True)
    for message in messages:
        _judge(run, name, message)


def _unreadable(run: _Run, name: str, reason: str) -> None:
    run.unreadable += 1
    if run.json_output:
        emit({"file": name, "code": None, "error": f"cannot be read ({reason})"})
    else:
        errors.print(f"{name}: cannot be read ({reason})", markup=False, soft_wrap=True)


def _judge(run: _Run, name: str, message: bytes) -> None:
    report = run.rehearsal.report(message, peer="")
    run.results[report.result.replace("CR", "AR")] += 1
    run.findings.update({(f.code, f.severity) for f in report.findings})
    opinion = _opinion(message) if run.reference else None
    if opinion is not None and not opinion.agrees(report.findings):
        run.disagreements += 1
    if run.json_output:
        beside = {"reference": opinion.as_dict(report.findings)} if opinion else {}
        emit({"file": name, **report.as_dict(run.language), **beside})
    else:
        _show(run, name, report, opinion)


def _opinion(message: bytes) -> Opinion:
    from gateway.cli import reference  # noqa: PLC0415 - hl7apy takes a second to load, and only this asks for it

    return reference.ask(decode(message).text)


# ----------------------------------------------------------------------------------------------------- for people


def _show(run: _Run, name: str, report: Report, opinion: Opinion | None) -> None:
    header = report.verdict.header
    colour = _COLOURS[report.result[1]]
    shown = report.result if report.code == report.result else f"{report.code}/{report.result}"
    words = (header.control_id if header else "", report.verdict.event, report.effect.value, name)
    console.print(Text.assemble((shown, f"bold {colour}"), "  ", printable("  ".join(w for w in words if w))))
    for finding in report.findings:
        _indented(_line(finding, run.language), 2)
        _indented(Text(report.action(finding, run.language) or "", "dim"), 4)
    if report.fault is not None:
        _indented(Text(f"an error of ours: {type(report.fault).__name__}", "red"), 2)
    if opinion is not None:
        _show_opinion(opinion, report)


def _line(finding: Finding, language: Language) -> Text:
    place = f"{finding.place.label}: " if finding.place else ""
    return Text(printable(f"{finding.severity} {finding.code}  {place}{finding.text(language)}"))


def _show_opinion(opinion: Opinion, report: Report) -> None:
    verdict = "valid" if opinion.valid else f"{len(opinion.errors)} errors"
    differs = "" if opinion.agrees(report.findings) else f", which differs from our {report.result}"
    _indented(Text(f"hl7apy: {verdict}, {len(opinion.warnings)} warnings{differs}", "bold" if differs else "dim"), 2)
    for words in (*opinion.errors, *opinion.warnings):
        _indented(Text(printable(words), "dim"), 4)


def _indented(text: Text, columns: int) -> None:
    if text:
        console.print(Padding(text, (0, 0, 0, columns), expand=False))


def _summary(run: _Run) -> None:
    console.print()
    columns = ["messages", "AA", "AE", "AR"]
    row: list[object] = [run.messages, *(run.results[code] for code in columns[1:])]
    for name, count in (("unreadable files", run.unreadable), ("files without HL7", run.skipped)):
        if count:
            columns.append(name)
            row.append(count)
    if run.reference:
        columns.append("hl7apy differs")
        row.append(run.disagreements)
    table(columns, [row])
    if run.findings:
        console.print()
        table(("messages", "severity", "finding"), _most_common(run.findings))


def _most_common(findings: Counter[tuple[str, str]]) -> Iterator[tuple[object, ...]]:
    for (code, severity), count in findings.most_common(_TOP):
        yield count, severity, code
