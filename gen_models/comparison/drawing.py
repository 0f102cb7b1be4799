"""A small SVG canvas with axes: text and lines in the page's own colours, light or dark.

Drawn 360 units wide, so that its text is readable on a phone; classes are styled by the page.
"""

import math
from collections.abc import Sequence
from html import escape

WIDTH = 360
LEFT, RIGHT = 44, 12  # margins of a plot with an axis on its left


class Canvas:
    """Marks in the order they are drawn."""

    def __init__(self, height: float, alt: str) -> None:
        self.height = height
        self.alt = alt
        self.marks: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """A straight line."""
        self._add("line", css, x1=x1, y1=y1, x2=x2, y2=y2)

    def dot(self, x: float, y: float, radius: float, css: str) -> None:
        """A filled circle."""
        self._add("circle", css, cx=x, cy=y, r=radius)

    def path(self, points: Sequence[tuple[float, float]], css: str, *, closed: bool) -> None:
        """A line through points, or the surface within them."""
        text = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) + ("Z" if closed else "")
        self.marks.append(f'<path class="{css}" d="{text}"/>')

    def cross(self, x: float, y: float, css: str) -> None:
        """An X, which stands for a diverged run."""
        for sign in (-1, 1):
            self.line(x - 4, y - 4 * sign, x + 4, y + 4 * sign, css)

    def text(self, x: float, y: float, words: str, css: str = "", *, anchor: str = "start") -> None:
        """Words whose baseline begins, centres or ends at a point."""
        self.marks.append(
            f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def svg(self) -> str:
        """The whole picture, with its text alternative."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height:.0f}" role="img" '
            f'aria-label="{escape(self.alt)}">{"".join(self.marks)}</svg>'
        )

    def _add(self, tag: str, css: str, **places: float) -> None:
        where = " ".join(f'{name}="{value:.1f}"' for name, value in places.items())
        self.marks.append(f'<{tag} class="{css}" {where}/>')


class Axis:
    """From figures to places on the canvas.

    Args:
        values: All that must fit.
        start: Where the least lies.
        end: Where the greatest lies.
        log: By orders of magnitude; every value must be positive.
    """

    def __init__(self, values: Sequence[float], start: float, end: float, *, log: bool) -> None:
        self.start, self.end, self.log = start, end, log
        low, high = (self._scale(end(values)) for end in (min, max))
        margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        self.low, self.high = low - margin, high + margin
        if not log and low >= 0 > self.low:
            self.low = 0.0

    def __call__(self, value: float) -> float:
        """Where a figure lies."""
        share = (self._scale(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Three to seven round figures within the axis."""
        if self.log:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            places = [m * 10.0**p for p in powers for m in (1, 2, 5)]
            inside = [v for v in places if self.low <= math.log10(v) <= self.high]
            return inside if len(inside) <= 7 else inside[:: -(-len(inside) // 7)]
        least = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(least))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= least)
        first = math.ceil(self.low / step)
        return [n * step for n in range(first, math.floor(self.high / step) + 1)]

    def _scale(self, value: float) -> float:
        return math.log10(value) if self.log else value


def tick_text(value: float) -> str:
    """A round figure, short: 1000000 -> "1M", 0.0002 -> "0.0002"."""
    for power, letter in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if abs(value) >= 10**power:
            return f"{value / 10**power:.3g}{letter}"
    return f"{value:.4g}" if abs(value) >= 1e-9 else "0"
