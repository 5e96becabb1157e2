"""The specimen of a birth certificate extract: one A4 page that nobody can take for a real one.

fpdf2 lays the page out once, with blanks of fixed width where a case's data go; a case only fills the blanks, byte by
byte, so that the file's offsets stay true. That costs microseconds instead of milliseconds, and the same case always
gives the same bytes. The core fonts know Latin-1 only: other characters are printed as "?".
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from fpdf import FPDF

WARNING = "SPECIMEN - TIDAK BERLAKU / NOT VALID"
_MAX_CHARACTERS = 60
_LINE_CHARACTERS = 34  # capitals that fit beside the labels
_BLANK = 2 * _MAX_CHARACTERS + len(b"100 Tz () Tj 100 Tz ")
_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_RED, _GREY, _INK, _LINE = (190, 30, 30), (110, 110, 110), (25, 25, 25), (170, 150, 90)
_PALE = (246, 214, 214)
_MONTHS = (
    "Januari",
    "Februari",
    "Maret",
    "April",
    "Mei",
    "Juni",
    "Juli",
    "Agustus",
    "September",
    "Oktober",
    "November",
    "Desember",
)
# Blank name: label in Indonesian and English, in the order of the page.
_ROWS = (
    ("NIK", "Nomor Induk Kependudukan anak", "Child's NIK"),
    ("PLACE", "Tempat kelahiran", "Place of birth"),
    ("DATE", "Tanggal dan pukul lahir", "Date and time of birth"),
    ("NAME", "Nama anak", "Name of child"),
    ("SEX", "Jenis kelamin", "Sex"),
    ("PARITY", "Anak ke", "Order of birth"),
    ("MOTHER", "Ibu", "Mother"),
    ("FATHER", "Ayah", "Father"),
    ("KK", "Nomor Kartu Keluarga", "Family card number"),
)
_TITLES = {
    False: ("KUTIPAN AKTA KELAHIRAN", "Extract of birth certificate"),
    True: ("SURAT KETERANGAN LAHIR MATI", "Letter of stillbirth"),
}


@dataclass(frozen=True, slots=True)
class Extract:
    """What stands on the page. Texts are people's data: they go into the file and nowhere else."""

    number: str
    office: str
    issued: dt.datetime  # local time of the office
    rows: dict[str, str]  # by blank name of `_ROWS`; absent ones are printed "-"
    stillbirth: bool = False


def render(extract: Extract) -> bytes:
    """Return the PDF of one case."""
    texts = {
        "NUMBER": extract.number,
        "ISSUED": f"{_day(extract.issued.date())} {extract.issued:%H.%M}",
        "OFFICE": extract.office,
        **{name: extract.rows.get(name) or "-" for name, _, _ in _ROWS},
    }
    values = [_filling(texts[name]) for name in _names()]
    parts = _template(stillbirth=extract.stillbirth)
    page = b"".join(b for pair in zip(parts, [*values, b""], strict=True) for b in pair)
    made = extract.issued.astimezone(dt.UTC).strftime("D:%Y%m%d%H%M%S").encode()
    identity = hashlib.sha256(page + made).hexdigest()[:32].upper().encode()
    page = page.replace(_EPOCH.strftime("D:%Y%m%d%H%M%S").encode(), made)
    return re.sub(rb"(/ID \[<)[0-9A-F]{32}(><)[0-9A-F]{32}", rb"\g<1>" + identity + rb"\g<2>" + identity, page)


def long_date(day: dt.date) -> str:
    """Return the day as Indonesian documents write it."""
    return _day(day)


def _day(day: dt.date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _filling(text: str) -> bytes:
    """Return what stands before Tj for `text`, filled up to the blank's width with spaces (ISO 32000-1, 9.3, 9.4).

    A text too long for its line is set narrower (Tz), and the width set back for what follows.
    """
    plain = text[:_MAX_CHARACTERS].encode("latin-1", "replace")
    escaped = plain.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    if len(plain) <= _LINE_CHARACTERS:
        return (b"(%b)" % escaped).ljust(_BLANK + 2)
    squeezed = b"%d Tz (%b) Tj 100 Tz ()" % (100 * _LINE_CHARACTERS // len(plain), escaped)
    return squeezed.ljust(_BLANK + 2)


def _names() -> list[str]:
    """Return the blanks in the order in which the page shows them."""
    return ["NUMBER", *(name for name, _, _ in _ROWS), "ISSUED", "OFFICE"]


def _blank(name: str) -> str:
    return f"@{name}@".ljust(_BLANK, "_")


@cache
def _template(*, stillbirth: bool) -> tuple[bytes, ...]:
    """Return the page cut at its blanks."""
    pdf = FPDF(format="A4")
    pdf.set_compression(False)
    pdf.set_creation_date(_EPOCH)
    pdf.set_title(f"{WARNING}: {_TITLES[stillbirth][0]}")
    pdf.set_author("Procot registry sandbox")
    pdf.set_auto_page_break(auto=False)
    pdf.add_page()
    _background(pdf)
    _head(pdf, *_TITLES[stillbirth])
    for index, row in enumerate(_ROWS):
        _row(pdf, 108 + index * 13, *row)
    _foot(pdf)
    pattern = "|".join(re.escape(f"({_blank(name)})") for name in _names())
    parts = tuple(re.split(pattern.encode(), bytes(pdf.output())))
    if len(parts) != len(_names()) + 1:  # fpdf2 writes texts another way: better to fail than to print blanks
        raise RuntimeError("the certificate template has lost its blanks")
    return parts


def _background(pdf: FPDF) -> None:
    pdf.set_draw_color(*_LINE)
    pdf.set_line_width(1.2)
    pdf.rect(10, 10, 190, 277)
    pdf.set_line_width(0.3)
    pdf.rect(12.5, 12.5, 185, 272)
    pdf.set_text_color(*_PALE)
    pdf.set_font("helvetica", "B", 84)
    with pdf.rotation(52, 105, 160):
        pdf.text(22, 172, "SPECIMEN")
    pdf.set_fill_color(*_RED)
    pdf.rect(12.5, 12.5, 185, 14, style="F")
    pdf.rect(12.5, 270.5, 185, 14, style="F")
    for y in (12.5, 270.5):
        _centred(pdf, y, 14, WARNING, size=17, bold=True, colour=(255, 255, 255))


def _head(pdf: FPDF, title: str, english: str) -> None:
    _centred(pdf, 36, 7, "REPUBLIK INDONESIA (CONTOH)", size=13, bold=True)
    _centred(pdf, 43, 6, "Dinas Kependudukan dan Pencatatan Sipil - sandbox", size=11, colour=_GREY)
    _centred(pdf, 60, 11, title, size=22, bold=True)
    _centred(pdf, 71, 6, english, size=11, colour=_GREY)
    _text(pdf, 62, 91, "Nomor / Number", size=10, colour=_GREY)
    _text(pdf, 92, 91, _blank("NUMBER"), size=13, bold=True)


def _row(pdf: FPDF, y: float, name: str, label: str, english: str) -> None:
    _text(pdf, 25, y, label, size=11)
    _text(pdf, 25, y + 4, english, size=8, colour=_GREY)
    _text(pdf, 92, y, _blank(name), size=12, bold=name in {"NAME", "NIK"})
    pdf.set_draw_color(*_LINE)
    pdf.line(92, y + 2, 185, y + 2)


def _foot(pdf: FPDF) -> None:
    _text(pdf, 25, 234, "Diterbitkan / Issued", size=10, colour=_GREY)
    _text(pdf, 92, 234, _blank("ISSUED"), size=11)
    _text(pdf, 25, 242, "Kantor penerbit / Issuing office", size=10, colour=_GREY)
    _text(pdf, 92, 242, _blank("OFFICE"), size=11)
    note = (
        "Contoh dari sandbox Procot. Bukan dokumen negara; semua data rekaan.",
        "A specimen of the Procot sandbox. Not a state document; all data are invented.",
    )
    for index, line in enumerate(note):
        _centred(pdf, 254 + index * 5, 5, line, size=9, colour=_RED)


def _text(pdf: FPDF, x: float, y: float, text: str, **style: Any) -> None:  # noqa: ANN401 - passed on to _style
    _style(pdf, **style)
    pdf.text(x, y, text)


def _centred(pdf: FPDF, y: float, height: float, text: str, **style: Any) -> None:  # noqa: ANN401 - as above
    _style(pdf, **style)
    pdf.set_xy(10, y)
    pdf.cell(190, height, text, align="C")


def _style(pdf: FPDF, *, size: int, bold: bool = False, colour: tuple[int, int, int] = _INK) -> None:
    pdf.set_font("helvetica", "B" if bold else "", size)
    pdf.set_text_color(*colour)
