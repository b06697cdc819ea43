# SPDX-License-Identifier: Apache-2.0
"""Small charts as SVG text, in colours that read on light and on dark ground."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

TEXT = "#7d8590"
GRID = "#7d859040"
FONT = "font-family='system-ui, sans-serif' font-size='12'"
WIDTH = 960


@dataclass(frozen=True)
class Bar:
    """A value with its spread."""

    label: str
    value: float
    low: float
    high: float
    colour: str


@dataclass(frozen=True)
class Line:
    """Points from left to right."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: str


def bars(title: str, panels: Mapping[str, Sequence[Bar]], note: str, columns: int = 2) -> str:
    """Horizontal bars, one panel for each entry; each panel has its own scale, from 0."""
    width, label_width, row = WIDTH / columns, 150, 18
    parts, y = [], 44.0
    names = list(panels)
    for start in range(0, len(names), columns):
        chunk = names[start : start + columns]
        for column, name in enumerate(chunk):
            x = column * width
            parts.append(_text(x + 12, y + 12, name, weight=600))
            largest = max([bar.high for bar in panels[name]])
            scale = (width - label_width - 90) / largest
            for index, bar in enumerate(panels[name]):
                top, left = y + 20 + index * row, x + label_width
                parts.append(_text(left - 6, top + 12, bar.label, anchor="end"))
                parts.append(_rect(left, top + 2, bar.value * scale, row - 5, bar.colour))
                middle = top + row / 2 - 0.5
                parts.append(_path([(left + bar.low * scale, middle), (left + bar.high * scale, middle)], TEXT, 1.5))
                parts.append(_text(left + bar.high * scale + 6, top + 12, _number(bar.value)))
        y += 34 + row * max([len(panels[name]) for name in chunk])
    return _document(title, note, parts, y)


def lines(
    title: str, panels: Mapping[str, Sequence[Line]], note: str, x_label: str, y_label: str, *, columns: int = 3, x_log: bool = False
) -> str:
    """Lines over linear (or logarithmic) x and logarithmic y. The panels share both scales."""
    every = [point for panel in panels.values() for line in panel for point in line.points]
    x_axis = _Axis([x for x, _ in every], log=x_log)
    y_axis = _Axis([y for _, y in every], log=True)
    width, height = WIDTH / columns, 230
    parts, top = [], 44.0
    for index, (name, panel) in enumerate(panels.items()):
        left, top = index % columns * width, 44.0 + index // columns * (height + 30)
        box = (left + 52, top + 22, left + width - 14, top + height - 18)
        parts.append(_text(box[0], top + 12, name, weight=600))
        for tick in y_axis.ticks():
            y = box[3] - y_axis.share(tick) * (box[3] - box[1])
            parts += [_path([(box[0], y), (box[2], y)], GRID, 1), _text(box[0] - 6, y + 4, _number(tick), anchor="end")]
        for tick in x_axis.ticks():
            x = box[0] + x_axis.share(tick) * (box[2] - box[0])
            parts += [_path([(x, box[1]), (x, box[3])], GRID, 1), _text(x, box[3] + 15, _number(tick), anchor="middle")]
        for line in panel:
            points = [(box[0] + x_axis.share(x) * (box[2] - box[0]), box[3] - y_axis.share(y) * (box[3] - box[1])) for x, y in line.points]
            parts.append(_path(points, line.colour, 2.2))
            parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2.6' fill='{line.colour}'/>" for x, y in points]
    bottom = top + height + 12
    x = 12.0
    for line in next(iter(panels.values())):
        parts += [_rect(x, bottom, 18, 4, line.colour), _text(x + 24, bottom + 7, line.label)]
        x += 46 + 7 * len(line.label)
    parts.append(_text(WIDTH - 14, bottom + 7, f"x: {x_label}, y: {y_label}", anchor="end"))
    return _document(title, note, parts, bottom + 18)


class _Axis:
    def __init__(self, values: Sequence[float], *, log: bool) -> None:
        self._log = log
        self._low = 10 ** math.floor(math.log10(min(values))) if log else 0.0
        self._high = max(values)
        if log:
            self._high = next(m * d for d in _decades(self._low, self._high) for m in (1, 2, 5, 10) if m * d >= self._high * 0.999)

    def share(self, value: float) -> float:
        if self._log:
            return math.log(value / self._low) / math.log(self._high / self._low)
        return (value - self._low) / (self._high - self._low)

    def ticks(self) -> list[float]:
        if self._log:
            return [decade for decade in _decades(self._low, self._high) if decade <= self._high * 1.001]
        step = 10 ** math.floor(math.log10(self._high))
        step = next(step * m for m in (0.2, 0.5, 1.0, 2.0) if self._high / (step * m) <= 6)
        return [step * index for index in range(int(self._high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    first = round(math.log10(low))
    return [10.0**power for power in range(first, math.ceil(math.log10(high)) + 1)]


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.3g}M"
    if value >= 1000:
        return f"{value / 1000:.3g}k"
    return f"{value:.3g}"


def _document(title: str, note: str, parts: list[str], height: float) -> str:
    height += 24
    head = [_text(12, 24, title, size=16, weight=600), _text(12, height - 10, note, size=11)]
    return "\n".join(
        [f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' role='img' {FONT}>", *head, *parts, "</svg>", ""]
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, weight: int = 400) -> str:
    style = f"font-size='{size}' font-weight='{weight}' text-anchor='{anchor}'"
    return f"<text x='{x:.1f}' y='{y:.1f}' fill='{TEXT}' {style}>{escape(text)}</text>"


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{max(width, 0.5):.1f}' height='{height:.1f}' rx='2' fill='{colour}'/>"


def _path(points: Sequence[tuple[float, float]], colour: str, width: float) -> str:
    steps = " L".join([f"{x:.1f} {y:.1f}" for x, y in points])
    return f"<path d='M{steps}' fill='none' stroke='{colour}' stroke-width='{width}'/>"
