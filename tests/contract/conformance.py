"""hl7apy's own validator against ours on a corpus of mutated messages; makes docs/conformance.md.

    python -m tests.contract.conformance --write      the whole corpus: some minutes, hl7apy takes its time

The corpus is made from a seed: a valid message for each version and event, built from the version's tables, and
mutations of it. Ours judges with every check on everywhere; each side's findings become claims such as
("missing", "PID-3"). What one side claims and the other does not is a deviation; each belongs to a class that has a
line saying why ours is right (deviations.toml). A deviation of no class fails the test.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import ValidationError
from hl7apy.parser import parse_message as oracle_parse

from gateway.contract.strictness import CHECKS
from gateway.hl7 import reference
from gateway.hl7.header import read_header
from gateway.hl7.message import parse_message
from gateway.verify.layout import needed
from gateway.verify.policy import Policy, load_policy, read_policy
from gateway.verify.structure import check_structure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gateway.contract.finding import Finding
    from gateway.hl7.reference import Part

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/conformance.md"
COUNTS = Path(__file__).with_name("conformance.json")
REASONS = Path(__file__).with_name("deviations.toml")
SEED = 20_261_124


class Claim(NamedTuple):
    """What one side says is wrong. `place`: PV1, PID-3, PID-3.1."""

    kind: str
    place: str


class Case(NamedTuple):
    """One message of the corpus."""

    version: str
    event: str
    mutation: str
    text: str


@dataclass(frozen=True, slots=True)
class Deviation:
    """A claim of one side only: `ours` or `hl7apy`."""

    case: Case
    side: str
    claim: Claim
    name: str  # of its class, "" where none explains it


@dataclass(slots=True)
class Tally:
    """What a run found."""

    messages: int = 0
    agreed: int = 0
    agreed_wrong: int = 0
    mutations: Counter[str] = field(default_factory=Counter)
    deviations: Counter[str] = field(default_factory=Counter)
    unexplained: list[Deviation] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return the counts that the document is made from."""
        return {
            "seed": SEED,
            "messages": self.messages,
            "agreed": self.agreed,
            "agreed_wrong": self.agreed_wrong,
            "mutations": dict(sorted(self.mutations.items())),
            "deviations": dict(sorted(self.deviations.items())),
        }


# ------------------------------------------------------------------------------------------------- base messages

_SAMPLES = {
    "TS": "20261124060601",
    "DTM": "20261124060601",
    "DT": "20261124",
    "TM": "0606",
    "NM": "3",
    "SI": "1",
    "TN": "555-1234",
}
_PLAIN = ("ST", "ID", "IS", "NM", "SI", "DT", "DTM", "TM")
# Filled where the version and the structure have them, besides what is required.
_USUAL = {
    "PID": (7, 8, 11, 24, 25),
    "NK1": (2, 3, 15, 16),
    "PV1": (3, 4, 44),
    "OBX": (2, 5, 6, 14),
    "MRG": (1,),
}
_SEGMENTS = ("PID", "NK1", "PV1", "OBX", "PV2", "AL1", "DG1", "MRG", "OBR", "TXA")


def kinds(policy: Policy) -> Iterator[tuple[str, str, str, str]]:
    """Yield version, message type, event and structure for all that the gateway knows and the tables have."""
    for version in reference.VERSIONS:
        for code, events in sorted(policy.events.items()):
            for event in sorted(events):
                names = (f"{code}_{event}", *policy.structures.get(event, ()))
                structure = next((n for n in names if reference.structure(version, n)), "")
                if structure:
                    yield version, code, event, structure


def base(version: str, code: str, event: str, structure: str) -> list[list[str]]:
    """Return a valid message as segments of fields (MSH: fields[1] is MSH-2), what is required and what is usual."""
    found = reference.structure(version, structure)
    assert found is not None
    lines = [_segment(version, name) for name in _names(found.tree) if reference.segment(version, name)]
    for line in lines:
        if line[0] == "OBX":
            line[2:6] = ["NM", line[3], line[4], "3150"]
    msh = lines[0]
    del msh[1]
    msh += [""] * (12 - len(msh))
    msh[1], msh[6] = "^~\\&", "20261124060601"
    msh[8:12] = [f"{code}^{event}^{structure}", "1", "P", version]
    return lines


def _names(nodes: Sequence[reference.Node]) -> Iterator[str]:
    for node in nodes:
        if node.children and (node.required or node.known & {"PID", "OBX", "MRG"}):
            yield from _names(node.children)
        elif not node.children and (node.required or node.name in _SEGMENTS):
            yield node.name


def _segment(version: str, name: str) -> list[str]:
    parts = reference.segment(version, name) or ()
    fields = [name, *([""] * max(part.number for part in parts))]
    for part in parts:
        if part.required or part.number in _USUAL.get(name, ()):
            fields[part.number] = value(version, part)
    while not fields[-1]:
        fields.pop()
    return fields


def value(version: str, part: Part, depth: int = 0) -> str:
    """Return something that fits a field or component."""
    codes = reference.table(version, part.table)
    if components := reference.datatype(version, part.datatype):
        wanted = [c.required or c.number == 1 for c in components]
        texts = [value(version, c, depth + 1) if w else "" for c, w in zip(components, wanted, strict=True)]
        if part.datatype == "TS" or (codes and components[0].datatype in ("ID", "IS", "ST")):
            texts[0] = _SAMPLES["TS"] if part.datatype == "TS" else min(codes)
        return ("^" if depth == 0 else "&").join(texts).rstrip("^&")
    return min(codes) if codes and part.datatype in ("ID", "IS") else _SAMPLES.get(part.datatype, "A")


# ----------------------------------------------------------------------------------------------------- mutations

Lines = list[list[str]]


def _fields(
    lines: Lines, version: str, wanted: Callable[[Part], bool], *, filled: bool = True
) -> list[tuple[list[str], Part]]:
    """Return the fields after MSH that fit a wish."""
    return [
        (line, part)
        for line in lines[1:]
        for part in reference.segment(version, line[0]) or ()
        if wanted(part) and (not filled or (part.number < len(line) and line[part.number]))
    ]


def _put(line: list[str], number: int, text: str) -> None:
    line += [""] * (number + 1 - len(line))
    line[number] = text


def _plain(part: Part) -> bool:
    return part.datatype in _PLAIN


def none(lines: Lines, version: str, dice: random.Random) -> bool:
    return True


def required_field_emptied(lines: Lines, version: str, dice: random.Random) -> bool:
    found = _fields(lines, version, lambda p: p.required)
    if found:
        line, part = dice.choice(found)
        line[part.number] = ""
    return bool(found)


def segment_dropped(lines: Lines, version: str, dice: random.Random) -> bool:
    if len(lines) > 2:
        del lines[dice.randrange(1, len(lines))]
    return len(lines) > 1


def segment_doubled(lines: Lines, version: str, dice: random.Random) -> bool:
    at = dice.randrange(1, len(lines))
    lines.insert(at, list(lines[at]))
    return True


def segments_swapped(lines: Lines, version: str, dice: random.Random) -> bool:
    if len(lines) < 3:
        return False
    at = dice.randrange(1, len(lines) - 1)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    return lines[at][0] != lines[at + 1][0]


def segment_unknown(lines: Lines, version: str, dice: random.Random) -> bool:
    lines.insert(dice.randrange(1, len(lines) + 1), ["QQQ", "1"])
    return True


def segment_local(lines: Lines, version: str, dice: random.Random) -> bool:
    lines.insert(dice.randrange(1, len(lines) + 1), ["ZBY", "1", "A^B"])
    return True


def segment_of_another_structure(lines: Lines, version: str, dice: random.Random) -> bool:
    name = dice.choice([n for n in ("QRD", "RXE", "SCH", "NST") if reference.segment(version, n)] or ["NTE"])
    lines.append(_segment(version, name))
    return True


def single_field_repeated(lines: Lines, version: str, dice: random.Random) -> bool:
    found = _fields(lines, version, lambda p: p.maximum == 1)
    line, part = dice.choice(found)
    line[part.number] += "~" + line[part.number]
    return True


def repeating_field_repeated(lines: Lines, version: str, dice: random.Random) -> bool:
    found = _fields(lines, version, lambda p: p.maximum == -1)
    if found:
        line, part = dice.choice(found)
        line[part.number] += "~" + line[part.number]
    return bool(found)


def components_added(lines: Lines, version: str, dice: random.Random) -> bool:
    line, part = dice.choice(
        _fields(lines, version, lambda p: bool(reference.datatype(version, p.datatype)) or _plain(p))
    )
    line[part.number] += "^B" * 25
    return True


def subcomponents_added(lines: Lines, version: str, dice: random.Random) -> bool:
    line, part = dice.choice(
        _fields(lines, version, lambda p: bool(reference.datatype(version, p.datatype)) or _plain(p))
    )
    line[part.number] = line[part.number].replace("^", "&B&C&D&E&F&G&H&I&J&K&L&M^", 1)
    if "&" not in line[part.number]:
        line[part.number] += "&B&C&D&E&F&G&H&I&J&K&L&M"
    return True


def fields_added(lines: Lines, version: str, dice: random.Random) -> bool:
    line = dice.choice(lines[1:])
    parts = reference.segment(version, line[0]) or ()
    _put(line, max(p.number for p in parts) + 1, "B")
    return True


def _mistyped(types: tuple[str, ...], text: str) -> Callable[[Lines, str, random.Random], bool]:
    def mutate(lines: Lines, version: str, dice: random.Random) -> bool:
        found = _fields(lines, version, lambda p: p.datatype in types)
        if found:
            line, part = dice.choice(found)
            line[part.number] = text
        return bool(found)

    return mutate


def observation_mistyped(lines: Lines, version: str, dice: random.Random) -> bool:
    found = [line for line in lines if line[0] == "OBX"]
    if found:
        dice.choice(found)[2:6:3] = [dice.choice(("NM", "TM", "DT", "TS")), "tiga"]
    return bool(found)


def component_mistyped(lines: Lines, version: str, dice: random.Random) -> bool:
    found = [
        (line, part, inner)
        for line, part in _fields(
            lines, version, lambda p: p.datatype in ("CX", "XPN", "XAD", "XCN", "PL"), filled=False
        )
        for inner in reference.datatype(version, part.datatype)
        if inner.datatype in ("TS", "DT", "DTM", "NM") and part.number < len(line) and line[part.number]
    ]
    if found:
        line, part, inner = dice.choice(found)
        texts = line[part.number].split("^")
        texts += [""] * (inner.number - len(texts))
        texts[inner.number - 1] = "besok"
        line[part.number] = "^".join(texts)
    return bool(found)


def required_component_emptied(lines: Lines, version: str, dice: random.Random) -> bool:
    found = [
        (line, part, inner.number)
        for line, part in _fields(lines, version, lambda p: bool(reference.datatype(version, p.datatype)))
        for inner in reference.datatype(version, part.datatype)
        if inner.required
    ]
    if found:
        line, part, number = dice.choice(found)
        texts = line[part.number].split("^")
        texts += [""] * (9 - len(texts))
        texts[number - 1] = ""
        texts[1] = texts[1] or "B"
        if number == 2:
            texts[0] = texts[0] or "B"
            texts[1] = ""
        line[part.number] = "^".join(texts).rstrip("^")
    return bool(found)


def code_not_in_table(lines: Lines, version: str, dice: random.Random) -> bool:
    found = _fields(
        lines,
        version,
        lambda p: p.datatype in ("ID", "IS", "CE", "CWE") and bool(reference.table(version, p.table)),
        filled=False,
    )
    if found:
        line, part = dice.choice(found)
        _put(line, part.number, "QZ")
    return bool(found)


def text_too_long(lines: Lines, version: str, dice: random.Random) -> bool:
    found = _fields(lines, version, lambda p: p.datatype in ("ST", "IS"), filled=False)
    if found:
        line, part = dice.choice(found)
        _put(line, part.number, "B" * 1200)
    return bool(found)


def value_deleted(lines: Lines, version: str, dice: random.Random) -> bool:
    line, part = dice.choice(
        _fields(lines, version, lambda p: not p.required) or _fields(lines, version, lambda p: True)
    )
    line[part.number] = '""'
    return True


MUTATIONS: dict[str, Callable[[Lines, str, random.Random], bool]] = {
    "none": none,
    "required field emptied": required_field_emptied,
    "required component emptied": required_component_emptied,
    "segment dropped": segment_dropped,
    "segment doubled": segment_doubled,
    "segments swapped": segments_swapped,
    "unknown segment": segment_unknown,
    "Z segment": segment_local,
    "segment of another structure": segment_of_another_structure,
    "single field repeated": single_field_repeated,
    "repeating field repeated": repeating_field_repeated,
    "components added": components_added,
    "sub-components added": subcomponents_added,
    "fields added": fields_added,
    "no number": _mistyped(("NM",), "tiga"),
    "no sequence number": _mistyped(("SI",), "satu"),
    "no date": _mistyped(("TS", "DTM", "DT"), "20261350"),
    "no such observation": observation_mistyped,
    "no date in a component": component_mistyped,
    "code not in its table": code_not_in_table,
    "text too long": text_too_long,
    "value deleted": value_deleted,
}


def corpus(per_kind: int, *, seed: int = SEED) -> Iterator[Case]:
    """Yield the corpus: of each version and event `per_kind` messages, the mutations taken in turn."""
    dice = random.Random(seed)
    names = list(MUTATIONS)
    turn = 0
    for version, code, event, structure in kinds(load_policy()):
        made = 0
        while made < per_kind:
            name = names[turn % len(names)]
            turn += 1
            lines = base(version, code, event, structure)
            if MUTATIONS[name](lines, version, dice):
                text = "\r".join("|".join(line) for line in lines) + "\r"
                yield Case(version, f"{code}^{event}", name, text)
                made += 1


# -------------------------------------------------------------------------------------------------------- claims


@cache
def everything() -> Policy:
    """Return a profile with each check on everywhere. What is demanded by name is ours, not the standard's."""
    shipped = load_policy()
    checks = [c for c in CHECKS if c not in ("demanded", "demanded-segment", "single-segment")]
    rules = "".join(f'[[rule]]\ncheck = "{check}"\nplaces = ["*"]\nseverity = "E"\n' for check in checks)
    events = "".join(f"{code} = {json.dumps(sorted(names))}\n" for code, names in shipped.events.items())
    names = "".join(f"{event} = {json.dumps(list(names))}\n" for event, names in shipped.structures.items())
    head = "[accept]\nversions = []\nproduction = []\ntest = []\ncontrol_id_length = 1\n"
    return read_policy(f"{head}[accept.events]\n{events}[structures]\n{names}{rules}")


_KINDS = {
    "SEGMENT_MISSING": "missing",
    "SEGMENT_REPEATED": "repeated",
    "SEGMENT_ORDER": "order",
    "SEGMENT_UNEXPECTED": "unexpected",
    "SEGMENT_UNKNOWN": "unknown",
    "FIELD_REQUIRED": "missing",
    "FIELD_REPEATED": "repeated",
    "FIELD_EXTRA": "extra",
    "FIELD_TYPE": "type",
    "FIELD_DATE": "type",
    "FIELD_TABLE": "table",
    "FIELD_LONG": "long",
    "COMPONENT_EXTRA": "extra",
    "COMPONENT_REQUIRED": "missing",
    "SUBCOMPONENT_EXTRA": "extra",
}


_VALUES = ("type", "long")
# Where STRICT is asked too: it alone reads values, but stops at the first thing it finds.
_OF_VALUES = frozenset(
    {
        "none",
        "no number",
        "no sequence number",
        "no date",
        "no such observation",
        "no date in a component",
        "text too long",
    }
)


def ours(case: Case) -> set[Claim]:
    """Return what we claim."""
    message = parse_message(case.text)
    return {_claim(case.version, f) for f in check_structure(message, read_header(message), everything())}


def _claim(version: str, finding: Finding) -> Claim:
    place = finding.place
    assert place is not None
    kind = _KINDS[finding.code]
    if not place.field or finding.code == "FIELD_EXTRA":
        return Claim(kind, place.segment)
    if finding.code == "SUBCOMPONENT_EXTRA":  # hl7apy names the data type only
        part = next(p for p in reference.segment(version, place.segment) or () if p.number == place.field)
        if reference.datatype(version, part.datatype):
            return Claim(kind, f"{part.datatype}.{place.component}")
    inner = f".{place.component}" if finding.code == "COMPONENT_REQUIRED" else ""
    return Claim(kind, f"{place.segment}-{place.field}{inner}")


# What its report says; the first group or two name the element, and what it stands in.
_SAYINGS = (
    ("missing", re.compile(r"Missing required child (?P<above>\S+)\.(?P<name>\S+)$")),
    ("repeated", re.compile(r"Child limit exceeded (?P<above>\S+)\.(?P<name>\S+)$")),
    ("extra", re.compile(r"Invalid children detected for <\w+ (?P<name>\S+?)(?: \(.*)?(?: of type \S+)?>: ")),
    ("extra", re.compile(r"Datatype \S+ is not correct for \S+\.(?P<name>\S+) ")),
    ("extra", re.compile(r"Unknown element found: <\w+ (?P<name>\w+).*?>\.<\w+.*>")),
    ("table", re.compile(r"Value .* not in table \S+ in element (?P<above>\S+)\.(?P<name>\S+)$")),
)
_PART = re.compile(r"(\w+)_(\d+)$")


def theirs(case: Case) -> set[Claim]:
    """Return what hl7apy claims in TOLERANT: the errors and warnings of its report."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", suffix=".txt") as report:
        stumbled = set()
        try:
            oracle_parse(case.text, validation_level=VALIDATION_LEVEL.TOLERANT).validate(report_file=report.name)
        except ValidationError:
            pass  # the first of what the report has in full
        except Exception as error:  # noqa: BLE001 - whatever it stumbles over is its verdict
            stumbled = {Claim("crash", type(error).__name__)}
        claims = stumbled | {_read(case.version, line.partition(": ")[2]) for line in report.read().splitlines()}
        return {said for claim in claims for said in _spelt_out(case, claim)}


def _spelt_out(case: Case, claim: Claim) -> Iterator[Claim]:
    """Name a missing group as we do: by the segments that it wants at least."""
    name = case.text.split("|")[8].rpartition("^")[2]
    structure = reference.structure(case.version, name)
    group = _group(structure.tree, claim.place) if structure and claim.kind == "missing" else None
    yield from (Claim("missing", segment) for segment in needed(group)) if group else (claim,)


def _group(nodes: Sequence[reference.Node], name: str) -> reference.Node | None:
    for node in nodes:
        found = node if node.name == name and node.children else _group(node.children, name)
        if found:
            return found
    return None


def strictly(text: str) -> bool:
    """Tell whether hl7apy's STRICT reader takes the message."""
    try:
        oracle_parse(text, validation_level=VALIDATION_LEVEL.STRICT).validate()
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def _read(version: str, line: str) -> Claim:
    for kind, saying in _SAYINGS:
        if found := saying.match(line):
            groups = found.groupdict()
            place = _place(version, groups["name"], groups.get("above", ""))
            return Claim(kind, place.partition(".")[0] if kind == "table" else place)
    return Claim("other", re.sub(r"[^A-Za-z ]", "", line)[:40])


def _place(version: str, name: str, above: str) -> str:
    """Return PID-3 for PID_3, PID-3.1 for CX_1 in PID_3, CX.1 where it is not said in which field."""
    found, parent = _PART.match(name), _PART.match(above)
    if not found:
        return name
    if reference.segment(version, found[1]):
        return f"{found[1]}-{found[2]}"
    if parent and reference.segment(version, parent[1]):
        return f"{parent[1]}-{parent[2]}.{found[2]}"
    return f"{found[1]}.{found[2]}"


# ---------------------------------------------------------------------------------------------------- comparison


class Reason(NamedTuple):
    """A class of deviations and why ours is right. Empty conditions: any."""

    name: str
    side: str
    kinds: tuple[str, ...]
    mutations: tuple[str, ...]
    versions: tuple[str, ...]
    events: str  # regular expression, as is
    place: str
    why: str

    def explains(self, side: str, claim: Claim, case: Case) -> bool:
        """Tell whether a deviation is of this class."""
        return (
            side == self.side
            and claim.kind in self.kinds
            and (not self.mutations or case.mutation in self.mutations)
            and (not self.versions or case.version in self.versions)
            and re.fullmatch(self.events, case.event) is not None
            and re.fullmatch(self.place, claim.place) is not None
        )


@cache
def reasons() -> tuple[Reason, ...]:
    """Return the classes of deviations, the first that fits explains."""
    raw = tomllib.loads(REASONS.read_text(encoding="utf-8"))
    return tuple(
        Reason(
            name=name,
            side=values["side"],
            kinds=tuple(values["kinds"]),
            mutations=tuple(values.get("mutations", ())),
            versions=tuple(values.get("versions", ())),
            events=values.get("events", ".*"),
            place=values.get("place", ".*"),
            why=values["why"],
        )
        for name, values in raw.items()
    )


def compare(case: Case) -> tuple[list[Deviation], bool]:
    """Return what one side claims about a message and the other does not; and whether either claims anything."""
    us, them = ours(case), theirs(case)
    wrong = bool(us or them)
    values = {claim for claim in us if claim.kind in _VALUES}
    if values or case.mutation in _OF_VALUES:
        taken = strictly(case.text)
        if not taken:
            us -= values  # it stops at the first; that it stops is all there is to agree on
            if not values and all(claim.kind == "table" for claim in them):
                them.add(Claim("value", "STRICT"))
    sides = [("ours", claim) for claim in sorted(us - them)] + [("hl7apy", claim) for claim in sorted(them - us)]
    return [Deviation(case, side, claim, _class(side, claim, case)) for side, claim in sides], wrong


def _class(side: str, claim: Claim, case: Case) -> str:
    return next((r.name for r in reasons() if r.explains(side, claim, case)), "")


def measure(cases: Iterable[Case]) -> Tally:
    """Compare a corpus."""
    tally = Tally()
    for case in cases:
        found, wrong = compare(case)
        tally.messages += 1
        tally.agreed += not found
        tally.agreed_wrong += wrong and not found
        tally.mutations[case.mutation] += 1
        tally.deviations.update({d.name for d in found if d.name})
        tally.unexplained += [d for d in found if not d.name]
    return tally


# ------------------------------------------------------------------------------------------------------ document


def document(counts: dict[str, Any]) -> str:
    """Return docs/conformance.md."""
    messages, mutations, deviations = counts["messages"], counts["mutations"], counts["deviations"]
    table = "".join(f"| {r.name} | {r.side} | {deviations.get(r.name, 0)} | {r.why} |\n" for r in reasons())
    rows = ", ".join(f"{name} {number}" for name, number in mutations.items())
    return _DOCUMENT.format(
        messages=messages,
        agreed=counts["agreed"],
        wrong=counts["agreed_wrong"],
        share=f"{100 * counts['agreed'] / messages:.1f}",
        versions=len(reference.VERSIONS),
        kinds=len(list(kinds(load_policy()))),
        seed=counts["seed"],
        rows=rows,
        table=table,
    )


_DOCUMENT = """<!-- Made by `python -m tests.contract.conformance --write` from tests/contract/deviations.toml. -->

# Agreement with hl7apy's validator

The structural verdict runs on hl7apy's tables, compiled, not on hl7apy itself: microseconds instead of milliseconds.
How far both agree is measured on {messages} messages: valid ones for each of {versions} versions and each event that
the version has ({kinds} pairs), mutated in turn (seed {seed}). Ours judges with every check on everywhere; hl7apy
parses and validates in TOLERANT, and in STRICT where values are meant. Compared are claims: what is wrong, and where.

**{agreed} of {messages} messages ({share} %): the same claims**, in {wrong} of them that something is wrong. In the
others each deviation is of a class below. One of no class fails `tests/contract/test_conformance.py`, which compares a
part of the corpus at each run.

Mutations: {rows}.

| class | who says more | messages | why ours is right |
|---|---|---|---|
{table}
How severe a claim is, the birth profile says (`schemas/hl7/profile.toml`), and a facility may change it
([integrators.md](integrators.md#stricter-or-looser)); most of these are silence there.
"""


def main() -> int:
    """Measure the whole corpus and print, or write, what came out."""
    parser = argparse.ArgumentParser(description="hl7apy's validator against ours")
    parser.add_argument("--per-kind", type=int, default=len(MUTATIONS), help="messages of each version and event")
    parser.add_argument("--every", type=int, default=1, help="take each n-th only")
    parser.add_argument("--write", action="store_true", help="write docs/conformance.md and its counts")
    wish = parser.parse_args()
    tally = measure(case for n, case in enumerate(corpus(wish.per_kind)) if n % wish.every == 0)
    sys.stdout.write(json.dumps(tally.as_dict(), indent=2) + "\n")
    for deviation in tally.unexplained:
        case = deviation.case
        sys.stdout.write(f"{case.version} {case.event} {case.mutation}: {deviation.side} {deviation.claim}\n")
    if wish.write and not tally.unexplained:
        COUNTS.write_text(json.dumps(tally.as_dict(), indent=2) + "\n", encoding="utf-8")
        DOCUMENT.write_text(document(tally.as_dict()), encoding="utf-8")
    return 1 if tally.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
