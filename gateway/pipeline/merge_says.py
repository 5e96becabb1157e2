"""What the PID of a merge or renumbering tells of the child, for what nobody had told before (domain F 10, 13, 26).

Mostly the name: the ward merges the two numbers when the child has one. What is known stays, but a placeholder is no
name; and nothing is filled while the registry has the birth, or after issue.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.contract.lifecycle import JUDGED, State
from gateway.contract.naming import is_placeholder
from gateway.contract.ports import Draft, Effect
from gateway.contract.precedence import keep_stronger
from gateway.contract.revision import apply_draft, changed_paths
from gateway.pipeline import change
from gateway.pipeline.change import is_certified
from gateway.pipeline.draft import places

if TYPE_CHECKING:
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.change import Told
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_OPEN = JUDGED | {State.RECEIVED, State.SEALED, State.AWAIT_OFFICE}


async def fill_gaps(context: Context, connection: Connection, birth: Birth, says: Draft, told: Told) -> None:
    """Fill the gaps of a birth with what a merge says of its child; `told` is the whole message."""
    if birth.state not in _OPEN or await is_certified(connection, birth):
        return
    if _says_no_name(says):
        return
    known = _without_placeholder(birth.record)
    more = apply_draft(None, says)
    record, _ = keep_stronger(more, apply_draft(more, Draft.of_record(Effect.AMEND, known, places(known))))
    if changed_paths(birth.record, record):
        draft = replace(says, effect=Effect.AMEND, findings=())
        await change.apply(context, connection, birth, record, replace(told, draft=draft), dated=False)


def _says_no_name(says: Draft) -> bool:
    """Whether it has a placeholder, or a name whose type says temporary: then the whole PID is left alone."""
    name = says.values.get("child.name") if says.values else None
    return name is None or is_placeholder(name) or any(f.code == "NAME_PLACEHOLDER" for f in says.findings)


def _without_placeholder(record: BirthRecord) -> BirthRecord:
    name = record.child.name
    if name is None or not is_placeholder(name.reveal()):
        return record
    child = record.child.model_copy(update={"name": None, "name_as_sent": None})
    provenance = {path: at for path, at in record.provenance.items() if not path.startswith("child.name")}
    return record.model_copy(update={"child": child, "provenance": provenance})
