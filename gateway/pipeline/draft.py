"""A draft in its stored form: plain JSON text beside the message, read back when the birth is assigned."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from gateway.contract.finding import Finding
from gateway.contract.ports import Attachment, Draft, Effect, Prior
from gateway.contract.record import BirthRecord
from gateway.hl7.location import Location


def dump(draft: Draft) -> str:
    """Return the stored form of a draft. The record's own provenance carries the places."""
    rest: dict[str, Any] = {
        "effect": draft.effect.value,
        "medical_record": draft.medical_record,
        "cleared": sorted(draft.cleared),
        "findings": [
            {
                "code": f.code,
                "place": str(f.place) if f.place else None,
                "parameters": f.parameters,
                "severity": f.severity_override,
            }
            for f in draft.findings
        ],
        "sent_at": draft.sent_at.isoformat() if draft.sent_at else None,
    }
    if draft.prior or draft.linked:
        rest["prior"] = [[pair.old, pair.new] for pair in draft.prior]
        rest["linked"] = list(draft.linked)
        rest["concerns"] = list(draft.concerns)
    if draft.attachments:  # without their bytes, which the raw message has
        rest["attachments"] = [
            {
                "place": str(a.place),
                "kind": a.kind,
                "mime": a.mime,
                "size": a.size,
                "sha256": a.sha256,
                "pointer": a.pointer,
            }
            for a in draft.attachments
        ]
    record = draft.record.model_dump_json() if draft.record else "null"
    return json.dumps(rest)[:-1] + ', "record": ' + record + "}"


def load(stored: dict[str, Any]) -> Draft:
    """Return the draft of a stored form."""
    record = BirthRecord.model_validate(stored["record"]) if stored["record"] else None
    return Draft(
        effect=Effect(stored["effect"]),
        medical_record=stored["medical_record"],
        record=record,
        places=places(record),
        cleared=frozenset(stored["cleared"]),
        findings=tuple(
            Finding(
                f["code"],
                Location.parse(f["place"]) if f["place"] else None,
                f["parameters"],
                f.get("severity", ""),  # absent in what an older gateway kept
            )
            for f in stored["findings"]
        ),
        sent_at=dt.datetime.fromisoformat(stored["sent_at"]) if stored["sent_at"] else None,
        prior=tuple(Prior(old, new) for old, new in stored.get("prior", ())),
        linked=tuple(stored.get("linked", ())),
        attachments=tuple(
            Attachment(**(a | {"place": Location.parse(a["place"])})) for a in stored.get("attachments", ())
        ),
    )


def places(record: BirthRecord | None) -> dict[str, Location]:
    """Return where each field of a record came from."""
    return {path: Location.parse(place) for path, place in record.provenance.items()} if record else {}
