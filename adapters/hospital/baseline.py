"""The baseline profile: a hospital system that speaks HL7 v2 as the standard and the samples do (domain A).

Owns the order in which a message is read. Never judges: what is wrong with a birth is for the rules to say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from adapters.hospital.admission import doubt_date, map_birth_place
from adapters.hospital.documents import read_documents
from adapters.hospital.identity import draft_link, draft_merge
from adapters.hospital.mapping import (
    map_birth_moment,
    map_child,
    map_child_nik,
    map_facility,
    map_stillbirth,
    medical_record_of,
    settle_order,
)
from adapters.hospital.observations import Observations, map_observations
from adapters.hospital.outbound import (
    compose_certificate,
    compose_identity,
    compose_replacement,
    compose_revocation,
)
from adapters.hospital.parents import identifiers, map_parents, relatives_of
from adapters.hospital.recognise import (
    effect_of,
    has_wrong_date,
    is_misdated,
    may_be_meant_for_one,
    unlinked_birth,
    unsure_birth,
)
from adapters.hospital.sheet import DELETE, Sheet, read_moment
from adapters.hospital.zkl import map_zkl
from gateway.contract.finding import Finding
from gateway.contract.ports import AnswerKind, Certificate, Correspondence, Draft, Effect
from gateway.hl7.location import Location

if TYPE_CHECKING:
    import datetime as dt

    from gateway.contract.facility import FacilityProfile
    from gateway.hl7.message import Message

_NO_NEWBORNS_DATE = (Finding("BIRTH_DATE", Location("PID", 1, 7)),)


class BaselineHospital:
    """Implements gateway.contract.ports.HospitalAdapter."""

    name = "baseline"

    def draft(self, message: Message, facility: FacilityProfile, *, now: dt.datetime) -> Draft:
        """Map a message to a draft. Pure, and total: any message that lexes gives a draft."""
        zone = ZoneInfo(facility.time_zone)
        sent_at = sent_at_of(message, zone)
        at = sent_at or now
        effect = effect_of(message, facility, at=at, zone=zone)
        match effect:
            case Effect.MERGE | Effect.RENUMBER:
                return draft_merge(message, effect, facility, sent_at=sent_at, at=at, zone=zone)
            case Effect.LINK | Effect.UNLINK:
                return draft_link(message, effect, facility, sent_at=sent_at, at=at, zone=zone)
            case Effect.ATTACH:
                attachments, findings = read_documents(message)
                number = str(medical_record_of(message))
                return Draft(effect, number, None, findings=findings, sent_at=sent_at, attachments=attachments)
            case Effect.NONE:
                return _of_nobody(message, facility, sent_at, at, zone)
            case Effect.MOVE | Effect.UNDO_DISCHARGE:  # no data of a birth
                number = str(medical_record_of(message))
                return Draft(effect if number else Effect.NONE, number, None, sent_at=sent_at)
        misdated = has_wrong_date(message, facility, at=at, zone=zone)
        draft = self._record(message, facility, effect, sent_at, zone, misdated=misdated)
        return _in_doubt(draft, message, facility, at, zone)

    def _record(
        self,
        message: Message,
        facility: FacilityProfile,
        effect: Effect,
        sent_at: dt.datetime | None,
        zone: dt.tzinfo,
        *,
        misdated: bool = False,
    ) -> Draft:
        """Map a message that brings data of a birth. `misdated`: its birth date is no newborn's."""
        number = medical_record_of(message)
        sheet = Sheet(misdated=misdated)
        if number:
            sheet.put("child.medical_record", str(number), number.place)
        else:
            sheet.values["child.medical_record"] = ""
        if effect is Effect.OBSERVE:
            self.observe(sheet, message, facility, sent_at, zone)
        else:
            self.fill(sheet, message, facility, sent_at, zone)
        # A cancellation tells whom it is about; what is wrong with that person's data no longer matters.
        findings = [] if effect is Effect.CANCEL else sheet.findings
        if not number:
            findings = [Finding("MEDICAL_RECORD_MISSING", number.place), *findings]
        return Draft(
            effect=effect,
            medical_record=str(number),
            values=sheet.values,
            places=sheet.places,
            cleared=sheet.cleared,
            findings=tuple(findings),
            sent_at=sent_at,
        )

    def fill(
        self, sheet: Sheet, message: Message, facility: FacilityProfile, sent_at: dt.datetime | None, zone: dt.tzinfo
    ) -> None:
        """Read the segments in the order of trust: what is read later wins. A hospital that differs overrides this."""
        map_facility(sheet, message, facility)
        observed, relatives = Observations(message, zone), relatives_of(message)
        pid = message.first("PID")
        numbers = identifiers(pid, 3) if pid else {}
        born = None
        if pid:
            map_child(sheet, pid, numbers, message, facility)
            born = map_birth_moment(sheet, pid, sent_at, zone)
        map_observations(sheet, observed, zone)
        map_zkl(sheet, message, relatives, zone)
        settle_order(sheet)
        map_parents(sheet, message, relatives, facility, zone)
        if pid:
            map_birth_place(sheet, pid, born, message, facility, zone)
            doubt_date(sheet, pid, observed, message, sent_at, zone)
            map_child_nik(sheet, pid, numbers)
            map_stillbirth(sheet, pid, observed)

    def observe(
        self, sheet: Sheet, message: Message, facility: FacilityProfile, sent_at: dt.datetime | None, zone: dt.tzinfo
    ) -> None:
        """Read the results of an ORU^R01, and nothing else of it: who the baby is, its ADT tells."""
        map_facility(sheet, message, facility)
        observed = Observations(message, zone)
        map_observations(sheet, observed, zone)
        pid = message.first("PID")
        if pid:
            doubt_date(sheet, pid, observed, message, sent_at, zone)
            map_stillbirth(sheet, pid, observed)

    def certificate_messages(self) -> tuple[AnswerKind, ...]:
        """Return MDM^T02 with the certificate, then ADT^A31 with the child's NIK (domain A.11)."""
        return (AnswerKind.CERTIFICATE, AnswerKind.CHILD_IDENTITY)

    def replacement_messages(self) -> tuple[AnswerKind, ...]:
        """Return MDM^T10 with the corrected certificate, then ADT^A31 with what it says of the child."""
        return (AnswerKind.REPLACEMENT, AnswerKind.CHILD_IDENTITY)

    def revocation_messages(self) -> tuple[AnswerKind, ...]:
        """Return MDM^T11."""
        return (AnswerKind.REVOCATION,)

    def compose(self, kind: AnswerKind, certificate: Certificate, letter: Correspondence) -> bytes:
        """Return the bytes of one outbound message. The application answer is an acknowledgement, built elsewhere."""
        match kind:
            case AnswerKind.CERTIFICATE:
                return compose_certificate(certificate, letter)
            case AnswerKind.REPLACEMENT:
                return compose_replacement(certificate, letter)
            case AnswerKind.REVOCATION:
                return compose_revocation(certificate, letter)
            case AnswerKind.CHILD_IDENTITY:
                return compose_identity(certificate, letter)
            case AnswerKind.APPLICATION_ANSWER:
                raise ValueError("an application answer is an ACK: gateway.hl7.ack builds it from the stored findings")


def _of_nobody(
    message: Message, facility: FacilityProfile, sent_at: dt.datetime | None, at: dt.datetime, zone: dt.tzinfo
) -> Draft:
    """Return the draft of a message about no newborn, mostly about grown people, with what it may be all the same."""
    number = str(medical_record_of(message))
    said: tuple[Finding, ...] = ()
    if is_misdated(message, facility, at=at, zone=zone):
        said = _NO_NEWBORNS_DATE
    elif unsure := unsure_birth(message, facility, at=at, zone=zone):
        said = (Finding("NEWBORN_UNSURE", unsure),)
    meant = bool(number) and may_be_meant_for_one(message, facility, at=at, zone=zone)
    more = _NO_NEWBORNS_DATE if meant and said != _NO_NEWBORNS_DATE else ()
    return Draft(Effect.NONE, number, None, findings=said, sent_at=sent_at, if_open=more)


def _in_doubt(draft: Draft, message: Message, facility: FacilityProfile, at: dt.datetime, zone: dt.tzinfo) -> Draft:
    """Add what the store decides on: what is said of an update for nobody we know, and of its birth date (F 15)."""
    if draft.effect not in (Effect.AMEND, Effect.CANCEL):
        return draft
    dated = draft.values is not None and "child.born_on" in draft.values
    lost = _NO_NEWBORNS_DATE if not dated and message.text("PID", 7) not in ("", DELETE) else ()
    if unlinked_birth(message, facility, at=at, zone=zone):
        said = (Finding("BIRTH_UNKNOWN", Location("PID", 1, 3)), *lost)
    else:
        unsure = unsure_birth(message, facility, at=at, zone=zone)
        said = (Finding("NEWBORN_UNSURE", unsure),) if unsure else ()
    return replace(draft, if_unknown=said, if_open=lost if draft.effect is Effect.AMEND else ())


def sent_at_of(message: Message, zone: dt.tzinfo) -> dt.datetime | None:
    """Return when a message was sent: MSH-7, else EVN-2, else the last update of its patient, PID-33 (domain A.3)."""
    for name, field in (("MSH", 7), ("EVN", 2), ("PID", 33)):
        moment = read_moment(message.text(name, field), zone)
        if moment:
            return moment.at
    return None
