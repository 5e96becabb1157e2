"""Line charts as SVG: text in, text out, no library. Both axes may be logarithmic; curves are named at their end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 44, 48
COLOURS = ("#0b6e4f", "#1f77b4", "#c0392b", "#8e44ad", "#b9770e", "#2c3e50", "#7f8c8d", "#d35400")
_LABEL = 13  # pixels between two names
_FONT = "font-family='Helvetica, Arial, sans-serif'"


@dataclass(frozen=True, slots=True)
class Curve:
    """Points (x, y) and a name. `bold` for what the chart is about."""

    name: str
    points: Sequence[tuple[float, float]]
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis says, and how it is divided. `ticks` are values; on a logarithmic axis none may be 0."""

    title: str
    ticks: Sequence[float]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            return math.log(max(value, low) / low) / math.log(high / low)
        return (value - low) / ((high - low) or 1)


def decades(values: Sequence[float]) -> list[float]:
    """Return the powers of ten around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [float(10**n) for n in range(low, max(high, low + 1) + 1)]


def steps(most: float, *, about: int = 5) -> list[float]:
    """Return round values from 0 to at least `most`."""
    size = 10 ** math.floor(math.log10(max(most, 1) / about))
    step = next(size * n for n in (1, 2, 5, 10) if size * n * about >= most)
    return [step * n for n in range(math.ceil(most / step) + 1)]


def draw(title: str, curves: Sequence[Curve], x: Axis, y: Axis) -> str:
    """Return the SVG of a chart."""
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' {_FONT} font-size='12'>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>",
        f"<text x='{LEFT}' y='24' font-size='15' fill='#111'>{escape(title)}</text>",
        *_grid(x, y),
    ]
    parts += [_line(curve, colour, x, y) for curve, colour in zip(curves, _endless(len(curves)), strict=True)]
    parts += _names(curves, y)
    return "\n".join([*parts, "</svg>", ""])


def _grid(x: Axis, y: Axis) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in y.ticks:
        at = _y(y.place(value))
        parts += [
            f"<line x1='{LEFT}' x2='{right}' y1='{at}' y2='{at}' stroke='#ddd'/>",
            f"<text x='{LEFT - 8}' y='{at + 4}' text-anchor='end' fill='#444'>{value:,.10g}</text>",
        ]
    for value in x.ticks:
        at = _x(x.place(value))
        parts += [
            f"<line x1='{at}' x2='{at}' y1='{TOP}' y2='{bottom}' stroke='#eee'/>",
            f"<text x='{at}' y='{bottom + 18}' text-anchor='middle' fill='#444'>{value:,.10g}</text>",
        ]
    middle = (LEFT + right) / 2
    parts.append(f"<text x='{middle}' y='{HEIGHT - 10}' text-anchor='middle' fill='#111'>{escape(x.title)}</text>")
    middle = (TOP + bottom) / 2
    turned = f"transform='rotate(-90 16 {middle})'"
    parts.append(f"<text x='16' y='{middle}' {turned} text-anchor='middle' fill='#111'>{escape(y.title)}</text>")
    return parts


def _line(curve: Curve, colour: str, x: Axis, y: Axis) -> str:
    places = " ".join(f"{_x(x.place(a))},{_y(y.place(b))}" for a, b in curve.points)
    width = 3 if curve.bold else 1.5
    line = f"<polyline points='{places}' fill='none' stroke='{colour}' stroke-width='{width}'/>"
    if len(curve.points) > 12:  # noqa: PLR2004 - more are a curve, not measurements
        return line
    dots = (f"<circle cx='{_x(x.place(a))}' cy='{_y(y.place(b))}' r='{width + 1}' fill='{colour}'/>"
            for a, b in curve.points)  # fmt: skip
    return line + "".join(dots)


def _names(curves: Sequence[Curve], y: Axis) -> list[str]:
    """Return the names beside the ends of the curves, moved apart where they would lie on each other."""
    ends = [
        (_y(y.place(curve.points[-1][1])), curve, colour)
        for curve, colour in zip(curves, _endless(len(curves)), strict=True)
    ]
    parts: list[str] = []
    last = -math.inf
    for at, curve, colour in sorted(ends, key=lambda end: end[0]):
        last = max(at + 4, last + _LABEL)
        weight = " font-weight='bold'" if curve.bold else ""
        parts.append(f"<text x='{WIDTH - RIGHT + 10}' y='{last}' fill='{colour}'{weight}>{escape(curve.name)}</text>")
    return parts


def _endless(count: int) -> list[str]:
    return [COLOURS[n % len(COLOURS)] for n in range(count)]


def _x(place: float) -> float:
    return round(LEFT + place * (WIDTH - LEFT - RIGHT), 1)


def _y(place: float) -> float:
    return round(HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM), 1)
