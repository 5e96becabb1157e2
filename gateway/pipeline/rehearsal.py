"""The dry run: the verdict and the answer a message would get, with nothing asked of the store and nothing kept.

Judge and answerer are the wire's own. What only the store knows is assumed: an update (A08, A31, A11, A03 …) is judged
as for a birth that is known and still waits, and no control id was used before. The report says where that counted.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gateway.contract.finding import Finding
from gateway.contract.lifecycle import WAITS, State
from gateway.contract.ports import Effect
from gateway.hl7.header import salvage_header
from gateway.hl7.location import Location
from gateway.hl7.told import decode_told
from gateway.pipeline.verdict import UPDATES, Verdict, in_view_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from gateway.pipeline.answer import Answer, Answerer
    from gateway.pipeline.verdict import Judge

Language = Literal["id", "en"]

_OUR_TROUBLE = 207  # table 0357: not the message, but who sends it or whether we can take it
_HEADERS = re.compile(r"(?:^|[\r\n])[\ufeff \t]*(MSH[^\r\n]*)", re.IGNORECASE)
_OWNERS = {
    "gateway": "gerbang akta",
    "hospital": "rumah sakit",
    "parents": "orang tua",
    "officer": "petugas Disdukcapil",
    "registry": "Disdukcapil",
    "operator": "operator gerbang",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What would happen to one message. `fault` is an error of ours that judging it met, for the log."""

    verdict: Verdict
    effect: Effect
    findings: Sequence[Finding]
    answer: Answer
    fault: Exception | None = None

    @property
    def result(self) -> str:
        """The verdict as an acknowledgement code: AA accepted, AE to be corrected, AR or CR not processed."""
        return self.answer.code

    @property
    def accepted(self) -> bool:
        """Whether nothing must be corrected."""
        return self.result == "AA"

    @property
    def code(self) -> str:
        """MSA-1 of the first answer on the wire: CA where enhanced mode confirms the receipt before the verdict."""
        header = self.verdict.header
        receipt = header is not None and header.enhanced and self.answer.accept and self.result in ("AA", "AE")
        return "CA" if receipt else self.result

    def as_dict(self, language: Language) -> dict[str, Any]:
        """Return the published form (schemas/openapi.json, Rehearsal)."""
        header = self.verdict.header
        return {
            "code": self.code,
            "result": self.result,
            "control_id": header.control_id if header else "",
            "event": self.verdict.event,
            "effect": self.effect.value,
            "facility": header.facility_code if header else "",
            "assumed": "known_birth" if self.verdict.effect in UPDATES else None,
            "findings": [self._described(finding, language) for finding in self.findings],
            "answer": "".join(frame.decode(self.verdict.codec) for frame in self.answer.frames),
        }

    def _described(self, finding: Finding, language: Language) -> dict[str, Any]:
        entry = finding.entry
        return {
            **finding.as_dict(),
            "error_code": entry.error_code,
            "condition": entry.condition,
            "label": finding.place.label if finding.place else None,
            "text": finding.text(language),
            "action": self.action(finding, language),
        }

    def action(self, finding: Finding, language: Language) -> str | None:
        """Return what follows from a finding: whether the message is kept, and whose move is next; None: nothing."""
        rejected = any(f.entry.answer == "reject" for f in self.findings)
        if rejected:
            return _WORDS["blocked" if finding.entry.condition == _OUR_TROUBLE else "rejected"][language]
        if finding.severity == "E":
            return _WORDS["error"][language]
        hold = finding.entry.hold
        if hold is None:
            return None
        owner = WAITS[hold].owner
        return _WORDS["waits"][language].format(state=hold.value, owner=owner if language == "en" else _OWNERS[owner])


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The engine of the wire without its inbox."""

    judge: Judge
    answerer: Answerer

    def report(
        self, raw: bytes, *, peer: str, certificate_names: AbstractSet[str] = frozenset(), charset: str = ""
    ) -> Report:
        """Return what would happen to a message that comes from there."""
        try:
            verdict = self.judge.evaluate(raw, peer=peer, certificate_names=certificate_names, charset=charset)
        except Exception as error:  # noqa: BLE001 - on the wire it would be answered, so it is here (intake)
            return self.fault(error)
        return self.report_on(verdict)

    def report_on(self, verdict: Verdict) -> Report:
        """Return what would follow from a verdict."""
        try:
            nobodys = verdict.draft is not None and verdict.draft.effect is Effect.NONE
            effect, findings = in_view_of(verdict, None if nobodys else State.RECEIVED)
            return Report(verdict, effect, findings, self.answerer.answer(verdict, findings))
        except Exception as error:  # noqa: BLE001 - as above
            return self.fault(error)

    def fault(self, error: Exception) -> Report:
        """Return what would follow from an error of ours."""
        verdict = Verdict(findings=[Finding("INTERNAL", Location("MSH"))])
        return Report(verdict, Effect.NONE, verdict.findings, self.refusal(verdict), error)

    def refusal(self, verdict: Verdict) -> Answer:
        """Return the answer to a verdict whose findings say it all."""
        return self.answerer.answer(verdict, verdict.findings)

    def turned_away(self, raw: bytes, code: str, *, charset: str = "") -> Report:
        """Return the rejection of a message by what is known of its sender; the rest of it is not looked at."""
        decoded = decode_told(raw, charset)
        header = salvage_header(decoded.text)
        verdict = Verdict(codec=decoded.codec, header=header, findings=[Finding(code, Location("MSH", 1, 4))])
        return Report(verdict, Effect.NONE, verdict.findings, self.refusal(verdict))

    def receipt(self, verdict: Verdict) -> bytes:
        """Return CA, or CR with the reason, for a sender that wants no answer on a transport that must give one."""
        header = verdict.header
        if header is not None:
            verdict = dataclasses.replace(
                verdict, header=dataclasses.replace(header, accept_ack="AL", application_ack="NE")
            )
        return self.answerer.answer(verdict, verdict.findings if verdict.rejected else ()).accept


def senders(raw: bytes, *, charset: str = "") -> frozenset[str]:
    """Return every MSH-4 in the bytes, read as the lexer reads it: all that some part of them may be taken for."""
    headers = map(salvage_header, _HEADERS.findall(decode_told(raw, charset).text.replace("\0", "")))
    return frozenset(header.facility_code for header in headers if header)


_WORDS: dict[str, dict[Language, str]] = {
    "blocked": {
        "id": "Pesan tidak diproses: simpan, lalu kirim ulang setelah penyebabnya beres.",
        "en": "Not processed: keep the message and send it again when the cause is mended.",
    },
    "rejected": {
        "id": "Pesan tidak diproses: perbaiki, lalu kirim ulang (MSH-10 boleh sama).",
        "en": "Not processed: correct the message and send it again (MSH-10 may stay).",
    },
    "error": {
        "id": "Pesan disimpan, tetapi harus dikoreksi: kirim data yang benar dengan MSH-10 baru.",
        "en": "Kept, but it must be corrected: send the right data with a new MSH-10.",
    },
    "waits": {
        "id": "Diterima; kelahiran menunggu di {state}, langkah berikutnya: {owner}.",
        "en": "Accepted; the birth waits in {state}, the next move is with: {owner}.",
    },
}
