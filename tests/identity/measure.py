"""How well births of one mother are told apart: `python -m tests.identity.measure --write` writes docs/identity.md."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.contract.record import PluralityKind
from gateway.verify.likeness import RULES, Verdict, compare, order_of
from gateway.verify.reuse import RULES as REUSE
from tests.identity.pairs import KINDS, TODAY, pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = Path(__file__).parents[2] / "docs" / "identity.md"
EACH = 220  # pairs of every kind: 5,500 as told, and as many soiled
_PERSON = (Verdict.SUSPECT, Verdict.CONFLICT)
_INTRODUCTION = """\
# Whose birth is it?

Made by `python -m tests.identity.measure --write`; edit that instead.

The key of a birth is its facility and the baby's record number. One baby told under two numbers would have two
certificates; twins taken for one baby would have one. So each birth is compared with the other births of its mother:
when it is opened, and again when a message, a form or a merge changes what it is known by (never because of the baby's
name, which is expected to change). Each message has its verdict, kept with it: *new, replay, amendment, twin, suspect*
or *conflict*. The verdict on a pair, the rule, and every reason with its weight stand in the history of both births
(step `likeness`), in `procot births show` and in `GET /v1/births/{id}`.

```mermaid
flowchart LR
    A[birth opened,<br/>identity changed] --> M{one mother?}
    M -- no --> N([new])
    M -- NIK, or name and<br/>birth date, father, card --> D{within a day?}
    D -- no --> X[date mistyped?<br/>suspect, else new]
    D -- yes --> O{orders differ?}
    O -- yes --> T([twin: goes on])
    O -- no, or not told --> B{moment, sex,<br/>weight, name}
    B -- of one baby --> S([suspect: waits])
    B -- of two, told as several --> T
    B -- contradict --> C([conflict: waits])
```

Births of a mother are found by the keyed hash of her NIK; where she has none, by that of the letters of her name;
across all facilities, at most eight before and eight after. Only one transaction at a time compares births of one
mother, so that two notices of one baby never pass side by side.

## Who waits

| verdict | the later birth | the earlier birth |
|---|---|---|
| twin | goes on | goes on |
| suspect (`DUP_SUSPECT`), conflict (`SIBLING_CONFLICT`) | waits in `REVIEW`, until a person decides, or a \
message shows that they are two | waits too, unless it was sealed; one that the registry has stays, with an event |

`procot births release` does not let such a birth go; what lets it go is `merge`, `split`, the hospital's A40, A08 with
other data, or A11. What was split is never suspected again.

## How to decide

1. `procot births pairs` lists what waits; `procot births pairs BIRTH` lays both sides out. Names and NIK are compared
   there, not shown; an officer has the same from `GET /v1/births/{id}/compare/{other}`.
2. Ask the ward: which wristband has which number, how many babies did this mother have?
3. One baby: `procot births merge BIRTH INTO --reason …`, or the hospital sends A40. INTO keeps its number; between two
   hospitals INTO is the hospital of birth (domain F 62), which the first notice with letter, attendant or Apgar shows
   (`hospital_of_birth`). Gaps are filled from the other one, nothing known is replaced.
4. Two babies: `procot births split BIRTH [OTHER] --reason …`. Twins told with one order: rather let the hospital send
   A08 with the right PID-25; then both go on by themselves, and the certificates say the right order.
5. What the registry has is not merged away: merge into it, or ask it to withdraw its case first.

Twins are never merged: where order, sex or plurality says that they are two, `merge` refuses.

## Rules

The first that fits counts. The mother comes first: *same* by NIK or passport, *likely* by name with birth date, father,
family card or a misshapen NIK, *possible* by name alone. *Moment* is within five minutes; a slip is one digit, two
exchanged, or twelve hours. *Weight* is within 20 g.
"""

_REUSE = """\
## A number used again

What is told under a known number is compared with the birth that has it: at the door, by what is stored or waits
then, and again when it is applied. Several marks that contradict are another baby, one is a correction. Such a
message is answered AE `MRN_REUSED`, kept, and never applied: no silent update, no correction of an akta. A birth that
has not left the house waits in `REVIEW` until a person releases it, or the ward tells of its baby again (mother and
day). A withdrawal that names nothing but such a number takes no baby away. The number of a withdrawn birth is free:
it steps aside (`NUMBER#id`), and the new notice opens a birth of its own.

Merges compare the mothers too: NIK or passport, name, birth date; family card and father where she is not known to be
the same. Whatever differs and is no slip of the finger: nothing is merged, `MERGE_CONTRADICTION` on both that are not
certified. A person's `merge` refuses it as well. A withdrawal of a number that a baby had before is noted, nothing
else.
"""


@dataclass(slots=True)
class Figures:
    """What was said of the pairs of each kind.

    `twins_drawn`: twins with both orders told that a person would see; `twins_suspected`: twins of which a notice says
    that they are several, taken for one baby.
    """

    said: dict[str, Counter[Verdict]] = field(default_factory=dict)
    twins_drawn: int = 0
    twins_suspected: int = 0

    def recall(self, kind: str) -> float:
        """Return the share of a kind's pairs with the verdict a person would give."""
        return self.said[kind][KINDS[kind][0]] / self.said[kind].total()

    def seen(self, kind: str) -> float:
        """Return the share of a kind's pairs that are laid before a person."""
        return sum(self.said[kind][v] for v in _PERSON) / self.said[kind].total()

    def precision(self, *verdicts: Verdict) -> float:
        """Return how many of the pairs with one of these verdicts are of a kind with one of them."""
        right = sum(self.said[kind][v] for kind in KINDS for v in verdicts if KINDS[kind][0] in verdicts)
        return right / (sum(self.said[kind][v] for kind in KINDS for v in verdicts) or 1)

    def found(self, *verdicts: Verdict) -> float:
        """Return how many of the pairs of kinds with these verdicts have one of them."""
        kinds = [kind for kind in KINDS if KINDS[kind][0] in verdicts]
        return sum(self.said[k][v] for k in kinds for v in verdicts) / sum(self.said[k].total() for k in kinds)


def measure(*, each: int = EACH, seed: int = 4, dirt: bool = False) -> Figures:
    """Compare every generated pair."""
    figures = Figures()
    for pair in pairs(each=each, seed=seed, dirt=dirt):
        verdict = compare(pair.one, pair.other, today=TODAY).verdict
        figures.said.setdefault(pair.kind, Counter())[verdict] += 1
        if pair.truth is Verdict.TWIN:
            orders = (order_of(pair.one), order_of(pair.other))
            figures.twins_drawn += verdict in _PERSON and None not in orders
            several = {r.child.plurality for r in (pair.one, pair.other)} - {None, PluralityKind.SINGLE}
            figures.twins_suspected += verdict is Verdict.SUSPECT and bool(several)
    return figures


def page() -> str:
    """Return docs/identity.md."""
    clean, soiled = measure(), measure(dirt=True)
    rules = [f"| `{name}` | {verdict.value} | {text} |" for name, (verdict, text) in RULES.items()]
    reuse = [f"| `{name}` | {text} |" for name, text in REUSE.items()]
    lines = [_INTRODUCTION, "| rule | verdict | when |", "|---|---|---|", *rules, ""]
    lines += [_REUSE, "| rule | another baby, when |", "|---|---|", *reuse, "", *_measured(clean, soiled)]
    return "\n".join(lines) + "\n"


def _measured(clean: Figures, soiled: Figures) -> list[str]:
    count = sum(said.total() for said in clean.said.values())
    made = "[tests/identity/pairs.py](../tests/identity/pairs.py)"
    never = (
        f"**No twins that one notice tells to be several were merged or suspected: {clean.twins_suspected} and "
        f"{soiled.twins_suspected}. With both orders told none came before a person: {clean.twins_drawn} and "
        f"{soiled.twins_drawn}.**"
    )
    lines = [
        "## Measured",
        "",
        f"{count:,} generated pairs of invented people, {EACH} of each kind ({made}, seed 4),",
        "and the same kinds again *soiled*: in every notice fields are lost or garbled by chance (weight 8 %,",
        "time 4 %, order 5 %, plurality 4 %; mother without NIK 8 %, with 15 digits 3 %, with another woman's 2 %;",
        "her birth date 30 %, a letter of her name 4 %; the father 30 %). *Found* is the share of a kind with its",
        "verdict (recall), *to a person* the share that waits for one.",
        "",
        never,
        "",
        "| verdict | precision | recall | precision, soiled | recall, soiled |",
        "|---|---|---|---|---|",
    ]
    for name, verdicts in (
        ("suspect", (Verdict.SUSPECT,)),
        ("conflict", (Verdict.CONFLICT,)),
        ("to a person (suspect or conflict)", _PERSON),
        ("twin", (Verdict.TWIN,)),
    ):
        shares = [share for f in (clean, soiled) for share in (f.precision(*verdicts), f.found(*verdicts))]
        lines.append(f"| {name} | " + " | ".join(_percent(share) for share in shares) + " |")
    lines += [
        "",
        "| pairs | what they are | verdict | found | to a person | found, soiled | to a person, soiled |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind, (verdict, _, what) in KINDS.items():
        shares = [share for f in (clean, soiled) for share in (f.recall(kind), f.seen(kind))]
        lines.append(f"| {kind} | {what} | {verdict.value} | " + " | ".join(_percent(s) for s in shares) + " |")
    return [*lines, "", *_LIMITS]


_LIMITS = (
    "## What it does not find",
    "",
    "- Two well-formed NIK that differ are two women, also where one of them was mistyped: the registry's check of the",
    "  parents holds that one (name and NIK do not agree), and when it is corrected the births are compared.",
    "- A mother known by name alone: only babies that agree in moment, and in weight, name or letter, are suspected.",
    "- Twins without order, at one minute and of one weight (or none): a conflict, beside their own finding",
    "  `BIRTH_ORDER`; nothing is guessed.",
    "- Births kept before migration 11 are found by the mother's NIK; by her name after their next revision.",
)


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page, or write it; 1 where --check finds another one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args(arguments)
    made = page()
    if asked.check:
        return int(PAGE.read_text(encoding="utf-8") != made)
    if asked.write:
        PAGE.write_text(made, encoding="utf-8")
    else:
        sys.stdout.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
