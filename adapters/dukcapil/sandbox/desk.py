"""The office: takes submissions, works cases step by step, issues certificates. All it knows is in the records.

DITERIMA -> VERIFIKASI -> DISETUJUI -> TANDA_TANGAN -> TERBIT (domain C.4); DITOLAK or PERLU_PERBAIKAN after
verification where the behaviour says so. Until approval a case may be amended, until issue withdrawn; after it there
are correction (DIBETULKAN) and revocation (DICABUT). A restart goes on where the last process stopped.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from adapters.dukcapil.sandbox import answers, certificate, judge, numbers
from adapters.dukcapil.sandbox.records import CERTIFIED, FINAL, Arrival, Case, Issued

if TYPE_CHECKING:
    from collections.abc import Callable

    from adapters.dukcapil.sandbox.behaviour import Conduct
    from adapters.dukcapil.sandbox.records import Act, Records

STEPS = {"DITERIMA": "VERIFIKASI", "VERIFIKASI": "DISETUJUI", "DISETUJUI": "TANDA_TANGAN", "TANDA_TANGAN": "TERBIT"}
_APPROVED = frozenset({"DISETUJUI", "TANDA_TANGAN"})
_ZONE = ZoneInfo("Asia/Jakarta")
_BATCH = 500
_TICK_S = 0.02  # the shortest rest between two rounds: cases that fall due together share a commit
_LONGEST_REST_S = 3600.0
_LATE_S = 3.0  # what a late callback waits
_COPY_LAG_S = 1.0  # a copy that lags does not know a case younger than this
_SEX = {"L": "LAKI-LAKI", "P": "PEREMPUAN"}


class Desk:
    """One office. `callbacks` tells whether finished cases are told to the gateway; `told` is called when there are."""

    def __init__(  # noqa: PLR0913 - an office has that many things on its desk
        self,
        records: Records,
        conduct: Conduct,
        *,
        office: str,
        work_seconds: float,
        callbacks: bool,
        clock: Callable[[], dt.datetime],
        told: Callable[[], None],
    ) -> None:
        self._records = records
        self._conduct = conduct
        self._office = office
        self._work_seconds = work_seconds
        self._callbacks = callbacks
        self._clock = clock
        self._told = told
        self._wake = asyncio.Event()

    # ---------------------------------------------------------------------------------------- taking in

    def take(self, raw: bytes, body: dict[str, Any]) -> tuple[int, str]:
        """Take a submission whose key and signature are right. Returns status and text of the answer."""
        digest = hashlib.sha256(raw).digest()
        arrival, known = self._records.arrival(body["id_kasus"], body["revisi"], digest)
        match arrival, known:
            case Arrival.REPEATED, Case(answer=answer):
                return 200, answer
            case Arrival.KEY_REUSED, Case():
                return self._problem(409, "KUNCI_DIPAKAI")
            case Arrival.STALE, Case():
                return self._problem(409, "REVISI_LAMA")
            case Arrival.ISSUED, Case(number=number):
                return self._problem(409, "DUPLIKAT", no_akta=number or "")
            case Arrival.IN_PROCESS, Case() as case:
                return self._problem(423, "SEDANG_DIPROSES", no_permohonan=answers.reference(case, self._office))
        return self._refused(body) or self._accept(raw, digest, body)

    def _refused(self, body: dict[str, Any]) -> tuple[int, str] | None:
        if code := self._conduct.once("refuse_next") or self._conduct.now.refuse:
            return self._problem(422, code)
        if refusal := judge.refusal(body, office=self._office):
            return self._problem(422, refusal.code, faults=list(refusal.pointers))
        return None

    def _accept(self, raw: bytes, digest: bytes, body: dict[str, Any]) -> tuple[int, str]:
        received = self._clock().astimezone(_ZONE).isoformat(timespec="seconds")
        with self._records.transaction():
            case = self._records.add(
                body["id_kasus"], body["revisi"], digest=digest, payload=raw.decode(), received_at=received
            )
            self._foresee(case.no)
            pace = self._pace()
            if pace:
                self._records.move(case.no, case.status, due=time.time() + pace)
            else:
                self._finish(self._records.get(case.no))
            answer = answers.dumps(self.shown(self._records.get(case.no)))
            self._records.set_answer(case.no, answer)
        self._wake.set()
        return 202, answer

    def shown(self, case: Case) -> dict[str, Any]:
        """Return where a case is, as it is told to everybody."""
        no = case.no
        acts, spelling = self._records.acts_of(no), self._records.spelling(no)
        under = self._conduct.now.files_under
        return answers.case_body(case, self._office, acts=acts, spelling=spelling, under=under)

    def stale(self, case: Case) -> dict[str, Any]:
        """Return a case as a copy that lags behind shows it: just received, nothing decided."""
        return answers.case_body(replace(case, status="DITERIMA", number=None), self._office)

    def is_young(self, case: Case) -> bool:
        """Tell whether such a copy does not know the case yet."""
        age = self._clock() - dt.datetime.fromisoformat(case.received_at)
        return age.total_seconds() < _COPY_LAG_S

    # --------------------------------------------------------------------------------------- amending, acts

    def amend(self, case: Case, raw: bytes, body: dict[str, Any]) -> tuple[int, str]:
        """Take a perbaikan whose key and signature are right: the case goes on with newer data (domain C.4)."""
        digest = hashlib.sha256(raw).digest()
        if known := self._records.find_by_key(body["id_kasus"], body["revisi"]):
            held = self._records.earlier_key(body["id_kasus"], body["revisi"]) or known
            if known.no != case.no or held.digest != digest:
                return self._problem(409, "KUNCI_DIPAKAI")
            return 200, held.answer
        if case.case_id != body["id_kasus"]:
            return self._problem(404, "TIDAK_DITEMUKAN")
        if code := self._outrun(case, body["revisi"]):
            return self._problem(409, code)
        return self._refused(body) or self._amend(case, raw, digest, body["revisi"])

    def _outrun(self, case: Case, revision: int) -> str:
        if case.status in CERTIFIED:
            return "SUDAH_TERBIT"
        if case.status in FINAL:
            return "SUDAH_BERAKHIR"
        if case.status in _APPROVED or self._conduct.now.late_amendments:
            return "TERLAMBAT"
        return "REVISI_LAMA" if revision < case.revision else ""

    def _amend(self, case: Case, raw: bytes, digest: bytes, revision: int) -> tuple[int, str]:
        with self._records.transaction():
            self._records.amend(case, revision, digest=digest, payload=raw.decode(), status="VERIFIKASI")
            self._foresee(case.no)
            if pace := self._pace():
                self._records.move(case.no, "VERIFIKASI", due=time.time() + pace)
            else:
                self._finish(self._records.get(case.no))
            answer = answers.dumps(self.shown(self._records.get(case.no)))
            self._records.set_answer(case.no, answer)
        self._wake.set()
        return 202, answer

    def act(
        self, case: Case, kind: str, key: str, raw: bytes, files: dict[str, bytes] | None = None
    ) -> tuple[int, str]:
        """Take an act about a case whose signature is right. `files` are documents by the name of their part."""
        digest, body = hashlib.sha256(raw).digest(), json.loads(raw)
        if known := self._records.act(key):
            same = known.digest == digest and known.case_no == case.no
            return (200, known.answer) if same else self._problem(409, "KUNCI_DIPAKAI")
        if body.get("id_kasus") != case.case_id:
            return self._problem(404, "TIDAK_DITEMUKAN")
        if any(act.status == "DITERIMA" for act in self._records.acts_of(case.no)):
            return self._problem(423, "TINDAKAN_LAIN")
        if refused := self._act_refused(case, kind, body, files or {}):
            return refused
        with self._records.transaction():
            wait = self._conduct.now.act_seconds
            due = time.time() + wait if wait else None
            act = self._records.add_act(key, case.no, kind, digest=digest, body=raw.decode(), due=due)
            for name, content in (files or {}).items():
                self._records.keep_file(case.no, name, content)
            if not wait:
                self._decide(act)
            answer = answers.dumps(self.shown(self._records.get(case.no)))
            self._records.set_act_answer(key, answer)
        self._wake.set()
        return 202, answer

    def _act_refused(
        self, case: Case, kind: str, body: dict[str, Any], files: dict[str, bytes]
    ) -> tuple[int, str] | None:
        ended = case.status in FINAL - {"TERBIT", "DIBETULKAN"}
        if kind == "PEMBETULAN":
            return self._correction_refused(case, body, ended=ended)
        if ended or (kind == "BERKAS" and case.status in CERTIFIED):
            return self._problem(409, "SUDAH_BERAKHIR" if ended else "SUDAH_TERBIT")
        if kind == "PEMBATALAN" and case.number and body.get("no_akta") != case.number:
            return self._problem(
                409, "SUDAH_TERBIT", no_akta=case.number
            )  # whoever withdraws must know that it is there
        wanted = body.get("berkas", [])
        if kind == "BERKAS" and not (
            wanted and all(hashlib.sha256(files.get(w["sha256"], b"")).hexdigest() == w["sha256"] for w in wanted)
        ):
            return self._problem(422, "BERKAS_TIDAK_TERBACA", faults=["/berkas"])
        return None

    def _correction_refused(self, case: Case, body: dict[str, Any], *, ended: bool) -> tuple[int, str] | None:
        if ended or not case.number:
            return self._problem(409, "SUDAH_BERAKHIR" if ended else "BELUM_TERBIT")
        if body.get("no_akta") != case.number:
            return self._problem(422, "DUPLIKAT", faults=["/no_akta"], no_akta=case.number)
        court = body.get("dasar") == "PENETAPAN_PENGADILAN" and body.get("no_penetapan")
        if "/anak/jenis_kelamin" in body.get("perubahan", []) and not court:
            return self._problem(422, "DASAR_TIDAK_CUKUP", faults=["/dasar"])
        document = body.get("dokumen")
        if not isinstance(document, dict):
            return self._problem(422, "BERKAS_KURANG", faults=["/dokumen"])
        if refusal := judge.refusal(document, office=self._office):
            return self._problem(422, refusal.code, faults=list(refusal.pointers))
        return None

    def _decide(self, act: Act) -> None:
        """Grant or refuse an act, and do what it asks for."""
        case = self._records.get(act.case_no)
        if code := self._conduct.once("refuse_act_next"):
            self._records.end_act(act.key, "DITOLAK", code)
        else:
            self._records.end_act(act.key, "DIKABULKAN")
            self._grant(case, act)
        self._tell(case.no)

    def _grant(self, case: Case, act: Act) -> None:
        if act.kind == "PEMBATALAN":
            self._records.move(case.no, "DICABUT" if case.number else "DIBATALKAN", due=None)
        elif act.kind == "PEMBETULAN":
            document = json.dumps(json.loads(act.body)["dokumen"], ensure_ascii=False)
            revision = json.loads(act.body)["revisi"]
            digest = hashlib.sha256(document.encode()).digest()
            if revision != case.revision:
                self._records.amend(case, revision, digest=digest, payload=document, status=case.status)
            self._records.respell(case.no, "")
            self._records.issue(case.no, self._issued(self._records.get(case.no)), status="DIBETULKAN")
        elif case.status == "PERLU_PERBAIKAN":
            self._records.decide_later(case.no, verdict="", code="", text="")
            self._records.move(case.no, "VERIFIKASI", due=time.time() + self._pace())

    def _foresee(self, no: int) -> None:
        """Settle now what verification will find, so that `..._next` means the next case received."""
        if code := self._conduct.once("needs_data_next"):
            verdict = "PERLU_PERBAIKAN"
        elif code := self._conduct.once("reject_next") or self._conduct.now.reject:
            verdict = "DITOLAK"
        else:
            return
        self._records.decide_later(no, verdict=verdict, code=code, text=answers.text_of(code))

    def _problem(self, status: int, code: str, **more: Any) -> tuple[int, str]:  # noqa: ANN401 - passed on
        return status, answers.problem(status, code, **more).text or ""

    # ------------------------------------------------------------------------------------------ working

    async def run(self) -> None:
        """Work cases as they fall due, for ever."""
        while True:
            self._wake.clear()
            cases = self._records.due_cases(time.time(), _BATCH)
            if cases:
                with self._records.transaction():
                    for case in cases:
                        self._step(case)
            acts = self._records.due_acts(time.time(), _BATCH)
            if acts:
                with self._records.transaction():
                    for act in acts:
                        self._decide(act)
            due, _ = self._records.next_due()
            rest = _LONGEST_REST_S if due is None else max(due - time.time(), _TICK_S)
            try:
                async with asyncio.timeout(rest):
                    await self._wake.wait()
                    await asyncio.sleep(_TICK_S)
            except TimeoutError:
                continue  # the next case is due

    def _pace(self) -> float:
        seconds = self._conduct.now.work_seconds
        return (self._work_seconds if seconds is None else seconds) / len(STEPS)

    def _step(self, case: Case) -> None:
        following = STEPS[case.status]
        if following == "TERBIT" or (case.verdict and case.status == "VERIFIKASI"):
            self._finish(case)
        else:
            self._records.move(case.no, following, due=time.time() + self._pace())
            if self._conduct.now.tell_steps:
                self._tell(case.no)

    def _finish(self, case: Case) -> None:
        if case.verdict:
            self._records.move(case.no, case.verdict, due=None)
        else:
            if name := self._conduct.once("respell_next"):
                self._records.respell(case.no, name)
            self._records.issue(case.no, self._issued(case))
        self._tell(case.no)

    def _tell(self, no: int) -> None:
        if not self._callbacks or self._conduct.now.drop_callbacks:
            return
        body = answers.dumps(self.shown(self._records.get(no)))
        late = self._conduct.dice.falls(self._conduct.now.late_callback_rate)
        self._records.queue_callback(no, body.encode(), wait_s=_LATE_S if late else 0.0)
        self._told()

    # ------------------------------------------------------------------------------------------ issuing

    def _issued(self, case: Case) -> Issued:
        body, now = case.body, self._clock().astimezone(_ZONE)
        if name := self._records.spelling(case.no):
            body["anak"]["nama"] = name
        number = self._number(case, body, now.date())
        # A corrected akta is about the same child: its NIK stays.
        nik, family_card = (case.child_nik, case.family_card) if case.number else self._child_numbers(body, now.date())
        pdf = certificate.render(_extract(body, number, nik, family_card, office=self._office, issued=now))
        return Issued(
            number=number,
            child_nik=nik,
            family_card=family_card,
            issued_at=now.isoformat(timespec="seconds"),
            sha256=hashlib.sha256(pdf).hexdigest(),
            document=pdf,
        )

    def _number(self, case: Case, body: dict[str, Any], today: dt.date) -> str:
        if body["jenis"] == "LAHIR_MATI":
            serial = self._records.count(f"sklm:{today}") + 1
            return numbers.stillbirth_number(self._office, registered=today, serial=serial)
        return numbers.akta_number(
            self._office,
            born=dt.date.fromisoformat(body["anak"]["tanggal_lahir"]),
            received=dt.datetime.fromisoformat(case.received_at).date(),
            registered=today,
            serial=self._records.count(f"akta:{today}") + 1,
        )

    def _child_numbers(self, body: dict[str, Any], today: dt.date) -> tuple[str | None, str | None]:
        """Return the child's NIK and its KK: none for a stillbirth, nor where no KK was asked for (domain F 58, 73)."""
        if body["jenis"] == "LAHIR_MATI" or "KK" not in body.get("layanan", ["KK"]):
            return None, None
        mother, father = body.get("ibu") or {}, body.get("ayah") or {}
        known_card = mother.get("no_kk") or father.get("no_kk")
        prefix = str(known_card or mother.get("nik") or f"{self._office}01")[:6]
        count = self._records.count
        born = dt.date.fromisoformat(body["anak"]["tanggal_lahir"])
        woman = body["anak"]["jenis_kelamin"] == "P"
        nik = numbers.new_nik(prefix, born, woman=woman, office=self._office, count=count)
        card = known_card or numbers.new_family_card(prefix, today, office=self._office, count=count)
        return nik, str(card)


def _extract(
    body: dict[str, Any], number: str, nik: str | None, family_card: str | None, *, office: str, issued: dt.datetime
) -> certificate.Extract:
    child = body["anak"]
    when = certificate.long_date(dt.date.fromisoformat(child["tanggal_lahir"]))
    if child.get("pukul"):
        when += f", pukul {child['pukul'].replace(':', '.')} {child.get('zona', '')}".rstrip()
    rows = {
        "NIK": nik,
        "PLACE": child.get("tempat_kelahiran"),
        "DATE": when,
        "NAME": child.get("nama"),
        "SEX": _SEX[child["jenis_kelamin"]],
        "PARITY": child.get("kelahiran_ke"),
        "MOTHER": (body.get("ibu") or {}).get("nama"),
        "FATHER": (body.get("ayah") or {}).get("nama"),
        "KK": family_card,
    }
    return certificate.Extract(
        number=number,
        office=f"Kantor {office} (sandbox)",
        issued=issued,
        rows={key: str(value) for key, value in rows.items() if value},
        stillbirth=body["jenis"] == "LAHIR_MATI",
    )
