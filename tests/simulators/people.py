"""What the logs must never say: everything in the samples that belongs to a person."""

from __future__ import annotations

import re
from functools import cache

from tests.simulators.facilities import SAMPLES, message_of

# Field numbers that hold names, addresses, phones; and those that hold identifiers.
_TEXTS = {"PID": (5, 6, 9, 11, 13), "NK1": (2, 4, 5), "ZKL": (9, 10, 11, 12)}
_SIXTEEN = re.compile(r"\d{16}")
_WORD_LENGTH = 5  # shorter pieces of names occur in words of ours
# Places are about people only together with a street; these stand in facility and office names too.
_PLACES = {"BANYUWANGI", "DENPASAR", "MOTHER", "FATHER", "CONTOH"}


@cache
def personal_texts() -> frozenset[str]:
    """Return names, streets, phones, and all sixteen-digit numbers of the samples."""
    found: set[str] = set()
    for path in SAMPLES.glob("*.hl7"):
        raw = path.read_bytes()
        found.update(_SIXTEEN.findall(raw.decode("latin-1")))
        message = message_of(raw)
        for name, numbers in _TEXTS.items():
            for segment in message.all(name):
                for number in numbers:
                    found.update(_pieces(segment.field(number)))
    return frozenset(found - _PLACES)


def _pieces(field: str) -> set[str]:
    parts = {part.strip() for part in re.split(r"[\^~&]", field)}
    words = {word for part in parts for word in part.split()}
    return {text for text in parts | words if len(text) >= _WORD_LENGTH and not text.isdigit() and text.isupper()}


def persons_in(text: str) -> set[str]:
    """Return what of the samples' people stands in a text."""
    return {value for value in personal_texts() if re.search(rf"(?<![\w-]){re.escape(value)}(?![\w-])", text)}
