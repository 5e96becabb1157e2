"""What people tell about a birth besides HL7: the ward's or parents' form, or an officer's hand (domain F 87, F 88).

1. read the form and its documents; 2. lock the birth; 3. the same Idempotency-Key: the same answer; 4. may it change
now? 5. the record with the form's values, as far as no stronger source has spoken (contract.precedence); 6. judge what
the form brought, by the rules that judge HL7: what the form has wrong is refused whole, and nothing changes; 7. keep
documents, revision and event, judge the birth, keep the answer. Steps 2 to 7 are one transaction.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import structlog
from pydantic import ValidationError

from gateway.contract.finding import Finding
from gateway.contract.form import Form
from gateway.contract.lifecycle import JUDGED, State
from gateway.contract.missing import described
from gateway.contract.pointer import pointer
from gateway.contract.ports import Attachment, Draft, Effect
from gateway.contract.precedence import keep_stronger
from gateway.contract.revision import apply_draft, changed_paths, leaves_of
from gateway.contract.strict_json import validated
from gateway.errors import ProcotError
from gateway.hl7.location import Location
from gateway.pipeline import likeness, question
from gateway.pipeline.change import twin_group
from gateway.pipeline.likeness import patiently
from gateway.pipeline.rejudge import MESSAGE, keys_of, rejudge
from gateway.pipeline.settle import asked_for_data
from gateway.store import attachments, births, forms, likenesses, revisions, siblings
from gateway.store.births import Why
from gateway.store.forms import Answered
from gateway.verify.content import judge
from gateway.verify.missing import missing
from gateway.verify.names import spellings
from gateway.verify.people import people_problems

if TYPE_CHECKING:
    import datetime as dt
    import uuid
    from collections.abc import Iterable, Mapping

    from gateway.config import Limits
    from gateway.contract.precedence import Source
    from gateway.contract.record import BirthRecord
    from gateway.pipeline.context import Context
    from gateway.store.births import Birth
    from gateway.store.database import Connection

_log = structlog.get_logger()
_MOST_PROBLEMS = 20  # an answer must not be many times its form
_OPEN = JUDGED | {State.SEALED, State.AWAIT_OFFICE, State.REFUSED}
# What a form has to get right; what an officer decides (REVIEW) may come in.
_REFUSED_HOLDS = (State.HOLD_NAME, State.HOLD_DATA, State.AWAIT_FORM)
_MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)
# What of earlier messages' findings a form's word about the same thing answers: fields and codes, by their beginnings.
_ANSWERED = (
    ("child.name", "NAME_"),
    ("child.born_at", "BIRTH_TIME"),
    ("child.sex", "SEX_"),
    ("mother.", "MOTHER_"),
    ("father.", "FATHER_"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a form: where (JSON Pointer, "" the whole), a stable code, and both sentences."""

    pointer: str
    code: str
    message: str
    pesan: str

    def as_dict(self) -> dict[str, str]:
        """Return the published form."""
        return {"pointer": self.pointer, "code": self.code, "message": self.message, "pesan": self.pesan}


class FormRefusedError(ProcotError):
    """The form cannot be taken as it is; nothing was changed. `problems` say what to mend."""

    code = "FORM_REFUSED"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"the form was not taken: {', '.join(sorted({p.code for p in problems}))}")
        self.problems = problems[:_MOST_PROBLEMS]

    def __reduce__(self) -> tuple[type[FormRefusedError], tuple[list[Problem]]]:
        """Cross over from the helper's process with what makes it."""
        return FormRefusedError, (self.problems,)


class FormTooLateError(ProcotError):
    """The birth is where a form changes nothing any more; the text says where."""

    code = "FORM_TOO_LATE"


class KeyReusedError(ProcotError):
    """The Idempotency-Key was used for another form."""

    code = "IDEMPOTENCY_KEY_REUSED"


@dataclass(frozen=True, slots=True)
class Teller:
    """Who brings a form: the actor of the event row, as which source, and under which Idempotency-Key ("" for none)."""

    actor: str
    source: Source
    key: str = ""


@dataclass(frozen=True, slots=True)
class _Read:
    form: Form
    digest: bytes
    documents: list[Attachment] = field(default_factory=list)


def read(raw: bytes, limits: Limits) -> _Read:
    """Read a form and its documents. Raises FormRefusedError naming every place that is wrong."""
    try:
        form = validated(Form, raw)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[:_MOST_PROBLEMS]
        raise FormRefusedError([_shape(e) for e in found]) from None
    documents, problems = _documents(form, limits)
    if problems:
        raise FormRefusedError(problems)
    return _Read(form, hashlib.sha256(raw).digest(), documents)


async def take(context: Context, birth_id: uuid.UUID, told: _Read, teller: Teller) -> dict[str, Any]:
    """Apply a form to a birth and return the answer.

    Raises LookupError, FormRefusedError, FormTooLateError and KeyReusedError; each leaves everything as it was.
    """
    return await patiently(lambda mothers: _take(context, birth_id, told, teller, mothers), context.rng)


async def _take(
    context: Context, birth_id: uuid.UUID, told: _Read, teller: Teller, mothers: frozenset[bytes]
) -> dict[str, Any]:
    async with context.database.transaction() as connection:
        if mothers:
            await likenesses.lock_mothers(connection, mothers)
        birth = await births.lock(connection, birth_id)
        if teller.key and (before := await forms.answered(connection, birth.id, teller.key)):
            if before.digest != told.digest:
                raise KeyReusedError("this Idempotency-Key was used for another form of this birth; take a new one")
            context.metrics.forms.labels("repeated").inc()
            return before.answer
        if birth.state not in _OPEN:
            raise FormTooLateError(_too_late(birth.state))
        answer = await _apply(context, connection, birth, told, teller)
        if teller.key:
            await forms.keep(
                connection, birth.id, teller.key, actor=teller.actor, answered=Answered(told.digest, answer)
            )
    context.metrics.forms.labels("taken").inc()
    _log.info("form.taken", birth_id=str(birth.id), facility=birth.facility, state=answer["state"])
    return answer


async def spellings_of(context: Context, birth_id: uuid.UUID) -> list[str]:
    """Return how a held name could be written, for the parents to choose (F 31); empty where that is of no use.

    Not a part of the answer that is kept for a repetition: it is a name. Raises LookupError.
    """
    async with context.database.connection() as connection:
        birth = await births.read(connection, birth_id)
    name = birth.record.child.name
    held = any(f["state"] == State.HOLD_NAME.value for f in birth.findings)
    return list(spellings(name.reveal())) if name and held else []


async def _apply(context: Context, connection: Connection, birth: Birth, told: _Read, teller: Teller) -> dict[str, Any]:
    values = _values(context, birth, told.form)
    record, stayed = _record(birth, values, teller.source)
    if problems := _judged(context, birth, record, values):
        raise FormRefusedError(problems)
    documents = [
        (document, await attachments.keep(connection, birth.id, None, document, document.content, actor=teller.actor))
        for document in told.documents
    ]
    if told.form.restricted and not birth.restricted:
        await births.restrict(connection, birth, told.form.restricted)
    changed = changed_paths(birth.record, record)
    detail = {"changed": list(changed), "documents": [d.sha256 for d, new in documents if new]}
    why = Why(teller.actor, "form", f"told by {teller.source.value}", detail=detail)
    if changed or (any(new for _, new in documents) and (asked_for_data(birth) or birth.state is State.REFUSED)):
        await _revise(context, connection, birth, record, why)
    elif any(new for _, new in documents):
        await births.note(connection, birth, why)
    else:
        await births.note(connection, birth, Why(teller.actor, "form", "told again: nothing new"))
    return _answer(context, birth, (changed, stayed, documents))


async def _revise(context: Context, connection: Connection, birth: Birth, record: BirthRecord, why: Why) -> None:
    """Keep the revision and judge it. What earlier messages had wrong about what the form tells is answered by it."""
    changed = why.detail["changed"]
    keys = keys_of(context, record)
    await revisions.revise(connection, birth, record, keys=keys, changed=changed, why=why)
    await likeness.look_again(context, connection, birth, changed, why)
    if birth.twin_group is None and (group := await twin_group(connection, record, keys)):
        await siblings.set_twin_group(connection, birth.id, group)
        birth.twin_group = group
    question.close(birth)  # a form comes to its birth at once: never before the question
    birth.findings = [f for f in birth.findings if f.get("by") != MESSAGE or not _is_answered(f["code"], changed)]
    await rejudge(context, connection, birth, why)


def _is_answered(code: str, changed: Iterable[str]) -> bool:
    return any(path.startswith(field) and code.startswith(about) for path in changed for field, about in _ANSWERED)


def _values(context: Context, birth: Birth, form: Form) -> dict[str, tuple[str, Any]]:
    child = birth.record.child
    zone = ZoneInfo(context.facility(birth.facility).time_zone)
    local = context.clock().astimezone(zone)
    offset = child.utc_offset or f"{local:%z}"[:3] + ":" + f"{local:%z}"[3:5]
    return form.values(now=local, utc_offset=offset)


def _record(birth: Birth, values: Mapping[str, tuple[str, Any]], source: Source) -> tuple[BirthRecord, tuple[str, ...]]:
    """Return the record with the form's values, and what a stronger source keeps as it is."""
    known = leaves_of(birth.record)
    base = {path: v for path, v in known.items() if path.startswith("facility.") or path == "child.medical_record"}
    draft = Draft(
        effect=Effect.AMEND,
        medical_record=birth.medical_record,
        values=base | {path: value for path, (_, value) in values.items()},
        places=dict.fromkeys(values, Location(source.value, 0)),  # 0: not counted, so that it reads "form"
    )
    return keep_stronger(birth.record, apply_draft(birth.record, draft), by=source)


def _judged(
    context: Context, birth: Birth, record: BirthRecord, values: Mapping[str, tuple[str, Any]]
) -> list[Problem]:
    """Judge what the form brought, each thing at its place in the form."""
    facility = context.facility(birth.facility)
    now = context.clock()
    leaves = leaves_of(record, derived=True)
    judgement = judge(
        leaves,
        {path: Location(place) for path, (place, _) in values.items()},
        facility=facility,
        now=now,
        require_form=False,
    )
    problems = [
        Problem(f.place.segment, f.code, f.text("en"), f.text("id"))
        for f in judgement.findings
        if f.place and f.place.segment.startswith("/") and f.entry.hold in _REFUSED_HOLDS
    ]
    for code, path, parameters in people_problems(leaves, today=_local_day(now, facility.time_zone)):
        if path in values:
            finding = Finding(code, None, parameters)
            problems.append(Problem(values[path][0], code, finding.text("en"), finding.text("id")))
    return problems


def _local_day(now: dt.datetime, zone: str) -> dt.date:
    return now.astimezone(ZoneInfo(zone)).date()


def _answer(
    context: Context,
    birth: Birth,
    done: tuple[tuple[str, ...], tuple[str, ...], list[tuple[Attachment, bool]]],
) -> dict[str, Any]:
    changed, stayed, documents = done
    today = _local_day(context.clock(), context.facility(birth.facility).time_zone)
    keys = missing(leaves_of(birth.record), birth.findings, accepted=birth.accepted, today=today)
    return {
        "id": str(birth.id),
        "state": birth.state.value,
        "revision": birth.revision,
        "changed": list(changed),
        "not_applied": list(stayed),
        "issues": [{k: v for k, v in f.items() if k != "by"} for f in birth.findings],
        "missing": described(keys),
        "documents": [
            {"kind": d.kind, "mime": d.mime, "size": d.size, "sha256": d.sha256, "new": new} for d, new in documents
        ],
    }


# ----------------------------------------------------------------------------------------------------- reading


def _documents(form: Form, limits: Limits) -> tuple[list[Attachment], list[Problem]]:
    """Decode the scans, by the caps on each and on all; what each is, its first bytes say."""
    read: list[Attachment] = []
    problems: list[Problem] = []
    if len(form.documents) > limits.form_documents:
        return [], [_too_large("/documents", f"{limits.form_documents} documents")]
    for index, document in enumerate(form.documents):
        place = f"/documents/{index}/content"
        try:
            content = base64.b64decode(document.content, validate=True)
        except (binascii.Error, ValueError):
            content = b""
        mime = next((mime for magic, mime in _MAGIC if content.startswith(magic)), "")
        if len(content) > limits.form_document_bytes:
            problems.append(_too_large(place, f"{limits.form_document_bytes} bytes"))
        elif not content:
            problems.append(_problem(place, "DOCUMENT_UNREADABLE"))
        elif not mime or document.mime not in (None, mime):
            problems.append(_problem(place, "DOCUMENT_TYPE"))
        else:
            read.append(_attachment(document.kind, mime, content))
    if sum(d.size for d in read) > limits.form_documents_bytes:
        problems.append(_too_large("/documents", f"{limits.form_documents_bytes} bytes together"))
    return read, problems


def _attachment(kind: str, mime: str, content: bytes) -> Attachment:
    digest = hashlib.sha256(content).hexdigest()
    return Attachment(Location("form", 0), kind, mime, size=len(content), sha256=digest, content=content)


_DOCUMENT_TEXTS = {
    "DOCUMENT_UNREADABLE": (
        "The document is empty or no base64. Scan it again and send it anew.",
        "Dokumen kosong atau bukan base64. Pindai ulang lalu kirim lagi.",
    ),
    "DOCUMENT_TYPE": (
        "The document is no PDF, JPEG, PNG or TIFF, or not what `mime` says. Save it as one of them.",
        "Dokumen bukan PDF, JPEG, PNG, atau TIFF, atau tidak sesuai `mime`. Simpan dalam salah satu bentuk itu.",
    ),
}


def _problem(place: str, code: str) -> Problem:
    return Problem(place, code, *_DOCUMENT_TEXTS[code])


def _too_large(place: str, limit: str) -> Problem:
    return Problem(
        place,
        "DOCUMENT_TOO_LARGE",
        f"More than {limit}. Scan in grey at 150 dpi, or send the documents in several forms.",
        f"Melebihi batas ({limit}). Pindai abu-abu 150 dpi, atau kirim dalam beberapa formulir.",
    )


def _shape(error: Any) -> Problem:  # noqa: ANN401 - pydantic's ErrorDetails is typed by name only
    """Return a problem of form; pydantic's words name what is expected and never what was sent."""
    place = pointer(error["loc"])
    match error["type"]:
        case "missing":
            return Problem(place, "REQUIRED", "This field is required.", "Bidang ini wajib diisi.")
        case "extra_forbidden":
            return Problem(place, "UNKNOWN_FIELD", "There is no such field.", "Bidang ini tidak dikenal.")
        case "string_too_long" | "too_long":
            return Problem(place, "TOO_LONG", f"{error['msg']}.", "Isi terlalu panjang.")
        case "json_invalid":
            return Problem("", "NOT_JSON", "The body is no JSON.", "Isi permintaan bukan JSON.")
    said = error["msg"].removeprefix("Value error, ")
    return Problem(place, "WRONG_FORM", f"{said}.", "Isi bidang ini tidak sesuai bentuk yang diminta.")


def _too_late(state: State) -> str:
    if state in (State.CANCELLED, State.MERGED):
        return f"the birth is {state.value}: a form changes nothing any more"
    if state is State.RECEIVED:
        return "the birth is being judged; send the form again in a moment"
    return f"the birth is {state.value}: the registry has it, and changes go by its officer"
