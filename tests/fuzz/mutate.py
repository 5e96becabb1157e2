"""Messages and streams out of samples: what dirty senders do, by chance but from one seed."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.mllp.framing import frame

if TYPE_CHECKING:
    import random

SAMPLES = Path(__file__).parents[1] / "vectors" / "samples"
TOKENS = (
    b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"\r\n", b"\0", b'""', b" ", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff",
    b"\xc3\xaf\xc2\xbb\xc2\xbf", b"\x0b", b"\x1c", b"\x1c\r", b"\x06", b"\x15", b"\x1b$B", b"\x1b(B", b"\xed\xa0\x80",
    b"\\F\\", b"\\X0D\\", b"\\X00\\", b"\\X1C0D\\", b"\\X4\\", b"\\", b"\\\\", b"\\.br\\", b"\\.sp99\\", b"\\M2442\\",
    b"\\C2842\\", b"\\C2D4C\\", b"\\Zx\\", b"MSH|^~\\&|", b"msh|", b"\rMSH|^~\\&|A|B\r", b"\rBHS|^~\\&|\r",
    b"\rBTS|9\r", b"\rFHS|^~\\&\r", b"\rFTS|1\r", b"PID|", b"ZZZ|", b"|AL|NE|", b"|NE|NE|", b"|ER|SU|", b"2.1",
    b"2.8.2", b"9.9", b"T", b"99999999999999999999", b"20261350", b"-1", "’".encode(), "😀".encode(),
    b"\xc9", b"\x92", b"\x81",
)  # fmt: skip
CHARSETS = (
    b"ASCII", b"8859/1", b"8859/15", b"UNICODE UTF-8", b"UNICODE UTF-16", b"GB 18030-2000", b"KS X 1001", b"ISO IR87",
    b"8859/1~ISO IR87~8859/5", b"UNICODE UTF-8~ISO IR159", b"NONSENSE", b"~", b"BIG-5", b"ISO IR6~ISO IR87",
)  # fmt: skip
CODECS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "gb18030", "utf-8")
LONG = 20_000


def corpus() -> list[bytes]:
    """Return the samples: what hospitals send, and what we send them."""
    return [path.read_bytes() for path in sorted(SAMPLES.rglob("*.hl7"))]


def _flip(rng: random.Random, raw: bytes) -> bytes:
    data = bytearray(raw)
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def _insert(rng: random.Random, raw: bytes) -> bytes:
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(raw))
        raw = raw[:at] + rng.choice(TOKENS) * rng.choice((1, 1, 1, 2, 50)) + raw[at:]
    return raw


def _remove(rng: random.Random, raw: bytes) -> bytes:
    start = rng.randint(0, len(raw))
    return raw[:start] + raw[start + rng.choice((1, 3, 30, 300)) :]


def _double(rng: random.Random, raw: bytes) -> bytes:
    start = rng.randint(0, len(raw))
    piece = raw[start : start + rng.choice((1, 10, 200))]
    return raw[:start] + piece * rng.choice((2, 3, 20)) + raw[start:]


def _cut_off(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randint(0, len(raw))]


def _line_ends(rng: random.Random, raw: bytes) -> bytes:
    return re.sub(rb"\r", lambda _: rng.choice((b"\r", b"\n", b"\r\n", b"\r\r", b"\r  ")), raw)


def _delimiters(rng: random.Random, raw: bytes) -> bytes:
    chosen = rng.sample(b"|^~\\&#*$%!@+/:;", 6)
    return raw.translate(bytes.maketrans(b"|^~\\&", bytes(chosen[:5])))


def _lower(_: random.Random, raw: bytes) -> bytes:
    return re.sub(rb"(?m)^[A-Z0-9]{3}", lambda m: m[0].lower(), raw.replace(b"\r", b"\r\n"))


def _field(rng: random.Random, raw: bytes) -> bytes:
    fields = raw.split(b"|")
    fields[rng.randrange(len(fields))] = rng.choice((*TOKENS, b"", b"x" * LONG, b"~" * 300, b"^" * 300))
    return b"|".join(fields)


def _header_field(rng: random.Random, raw: bytes) -> bytes:
    head, _, rest = raw.partition(b"\r")
    fields = [*head.split(b"|"), *[b""] * 20][:21]
    fields[rng.randrange(21)] = rng.choice((*TOKENS, b"", b"ADT^A08", b"ORU^R01", b"MDM^T02", b"T", b"x" * 300))
    return b"|".join(fields) + b"\r" + rest


def _charset(rng: random.Random, raw: bytes) -> bytes:
    head, _, rest = raw.partition(b"\r")
    fields = [*head.split(b"|"), *[b""] * 20][:20]
    fields[17] = rng.choice(CHARSETS)
    return b"|".join(fields) + b"\r" + rest


def _recode(rng: random.Random, raw: bytes) -> bytes:
    return raw.decode("utf-8", "replace").encode(rng.choice(CODECS), "replace")


def _splice(rng: random.Random, raw: bytes) -> bytes:
    other = rng.choice(corpus())
    return raw[: rng.randint(0, len(raw))] + other[rng.randint(0, len(other)) :]


def _several(rng: random.Random, raw: bytes) -> bytes:
    return b"".join(rng.choice((raw, *corpus()[:4])) for _ in range(rng.randint(2, 5)))


def _batch(rng: random.Random, raw: bytes) -> bytes:
    inside = (
        b"BHS|^~\\&|S|RSU CEMPAKA CONTOH|||2025||||B1\r" + _several(rng, raw) + rng.choice((b"", b"BTS|2\r", b"BTS\r"))
    )
    return b"FHS|^~\\&|S\r" + inside + b"FTS|1\r" if rng.random() < 0.5 else inside


_MUTATIONS = (
    _flip, _insert, _insert, _remove, _double, _cut_off, _line_ends, _delimiters, _lower, _field, _field, _header_field,
    _header_field, _charset, _recode, _splice, _several, _batch,
)  # fmt: skip


def message(rng: random.Random, samples: list[bytes]) -> bytes:
    """Return a sample, changed one to four times, or as it is."""
    raw = rng.choice(samples)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        raw = rng.choice(_MUTATIONS)(rng, raw)
    return raw


def stream(rng: random.Random, messages: list[bytes]) -> bytes:
    """Put messages into frames, now and then with what senders do wrong around them."""
    out = []
    for raw in messages:
        match rng.randrange(12):
            case 0:
                out.append(rng.choice((b"\r\n", b"GET / HTTP/1.1\r\n", b"\x1c\r", b"\0" * 9)) + frame(raw))
            case 1:
                out.append(b"\x0b" + raw[: rng.randint(0, len(raw))] + frame(raw))
            case 2:
                out.append(frame(raw)[:-1])
            case 3:
                out.append(frame(b"") + frame(raw) + frame(rng.choice((b"\x06", b"\x15"))))
            case _:
                out.append(frame(raw))
    return b"".join(out)


def packets(rng: random.Random, data: bytes) -> list[bytes]:
    """Cut a stream anywhere, a few times or into single bytes."""
    if len(data) < 200 and rng.random() < 0.2:
        return [data[i : i + 1] for i in range(len(data))]
    edges = sorted({0, len(data), *(rng.randint(0, len(data)) for _ in range(rng.choice((0, 0, 1, 2, 6))))})
    return [data[a:b] for a, b in itertools.pairwise(edges)]
