"""May this message be processed at all? Type, event, processing id, version, control id (domain A.3, A.5).

Every finding here turns the whole answer to AR (CR in enhanced mode): the sender keeps the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gateway.contract.finding import Finding
from gateway.hl7.location import Location
from gateway.verify.policy import Policy, load_policy

if TYPE_CHECKING:
    from gateway.hl7.header import Header

_SHOWN = 20  # characters of a sender's code that are repeated in an answer
_MESSAGE_TYPE, _CONTROL_ID, _PROCESSING_ID, _VERSION, _CONTINUATION = 9, 10, 11, 12, 14


def check_envelope(
    header: Header, *, test_messages: Literal["accept", "reject"], policy: Policy | None = None
) -> list[Finding]:
    """Judge MSH. An empty list lets the message in; TEST_MESSAGE is information and lets it in, too."""
    policy = policy or load_policy()
    findings: list[Finding] = []
    _check_type(header, policy, findings)
    _check_control_id(header, policy, findings)
    _check_processing_id(header, policy, test_messages, findings)
    if not header.version:
        findings.append(_missing(_VERSION))
    elif header.version not in policy.versions:
        findings.append(_of("VERSION_UNSUPPORTED", _VERSION, header.version))
    if header.continuation:
        findings.append(Finding("CONTINUATION_UNSUPPORTED", _at(_CONTINUATION)))
    return findings


def _check_type(header: Header, policy: Policy, findings: list[Finding]) -> None:
    events = policy.events.get(header.message_code)
    if not header.message_code:
        findings.append(_missing(_MESSAGE_TYPE))
    elif events is None:
        findings.append(_of("TYPE_UNSUPPORTED", _MESSAGE_TYPE, header.message_code))
    elif header.event not in events:
        findings.append(_of("EVENT_UNSUPPORTED", _MESSAGE_TYPE, header.event, component=2))


def _check_control_id(header: Header, policy: Policy, findings: list[Finding]) -> None:
    if not header.control_id.strip():
        findings.append(Finding("CONTROL_ID_MISSING", _at(_CONTROL_ID)))
    elif len(header.control_id) > policy.control_id_length:
        findings.append(Finding("CONTROL_ID_LONG", _at(_CONTROL_ID), {"limit": str(policy.control_id_length)}))


def _check_processing_id(
    header: Header, policy: Policy, test_messages: Literal["accept", "reject"], findings: list[Finding]
) -> None:
    if not header.processing_id:
        findings.append(_missing(_PROCESSING_ID))
    elif header.processing_id in policy.test and test_messages == "accept":
        findings.append(_of("TEST_MESSAGE", _PROCESSING_ID, header.processing_id))
    elif header.processing_id not in policy.production:
        findings.append(_of("PROCESSING_ID_UNSUPPORTED", _PROCESSING_ID, header.processing_id))


def _missing(field: int) -> Finding:
    return Finding("HEADER_FIELD_MISSING", _at(field))


def _of(code: str, field: int, value: str, *, component: int = 1) -> Finding:
    return Finding(code, _at(field, component), {"value": value[:_SHOWN] or "-"})


def _at(field: int, component: int = 0) -> Location:
    return Location("MSH", 1, field, 1 if component else 0, component)
