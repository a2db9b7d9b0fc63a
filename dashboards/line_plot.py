"""Lines as a drawing of our own (SVG): needs nothing that is not installed, and reads in dark and light."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from .lines import thinned
from .ticks import short, ticks

POINTS: Final = 1600
WIDTH, HEIGHT = 680, 260
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 30, 40
COLOURS: Final = ("#2f7fc1", "#d9822b", "#3d9a5f", "#c2527a", "#8a63c9", "#2f9ea0", "#a8861f", "#7d8591")
"""Each at least 3 : 1 against white and against #111."""
STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:currentColor}"
    ".g{stroke:currentColor;stroke-opacity:.14}.t{font-weight:600;font-size:13px}.q{fill-opacity:.72}"
)
DAY: Final = "color:#1f2328;background:#fff"
NIGHT: Final = "color:#e6e8eb;background:#16191d"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot.

    Attributes:
        name: in the legend.
        values: float64[n]; NaN and infinities are gaps.
        faint: drawn thin, behind a smoothed one.
    """

    name: str
    values: np.ndarray
    faint: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LinePlot:
    """A plot of lines over one axis. A notebook shows it; `svg` is its text.

    Attributes:
        title: above it.
        x_name, y_name: of the axes.
        x: float64[n], rising.
        lines: of n values each.
    """

    title: str
    x_name: str
    y_name: str
    x: np.ndarray
    lines: Sequence[Line] = field(default_factory=list)

    @property
    def svg(self) -> str:
        """As SVG with the text of its page: `currentColor`, so that it follows the theme around it."""
        x, thin = thinned(
            self.x, [np.where(np.isfinite(line.values), line.values, np.nan) for line in self.lines], POINTS
        )
        known = np.concatenate([values[np.isfinite(values)] for values in thin]) if thin else np.empty(0)
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            f'role="img" style="max-width:100%;height:auto" aria-label="{_safe(self._words(known))}">',
            f"<style>{STYLE}</style>",
            f'<text class="t" x="{LEFT}" y="18">{_safe(self.title)}</text>',
        ]
        if not len(known):
            out.append(
                f'<text class="q" x="{WIDTH / 2}" y="{HEIGHT / 2}" text-anchor="middle">nothing to show yet</text>'
            )
            return "".join([*out, "</svg>"])
        across, up = _Scale.over(x, LEFT, WIDTH - RIGHT), _Scale.over(known, HEIGHT - BOTTOM, TOP, room=0.05)
        out += self._axes(across, up)
        for number, (line, values) in enumerate(zip(self.lines, thin, strict=True)):
            width, opacity = (1, 0.45) if line.faint else (1.8, 1)
            out.append(
                f'<path fill="none" stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="{width}" '
                f'stroke-opacity="{opacity}" stroke-linejoin="round" stroke-linecap="round" '
                f'd="{_path(across(x), up(values))}"/>'
            )
        return "".join([*out, *self._legend(), "</svg>"])

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a `.svg` file, with a background of the reader's theme."""
        Path(path).write_text(self._repr_svg_(), encoding="utf-8")
        return Path(path)

    def _axes(self, across: _Scale, up: _Scale) -> list[str]:
        out = []
        for value in ticks(up.low, up.high, 4):
            y = f"{up(np.array([value]))[0]:.1f}"
            out.append(f'<path class="g" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
            out.append(f'<text class="q" x="{LEFT - 7}" y="{y}" dy=".35em" text-anchor="end">{short(value)}</text>')
        for value in ticks(across.low, across.high, 7):
            place = f"{across(np.array([value]))[0]:.1f}"
            out.append(
                f'<text class="q" x="{place}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{short(value)}</text>'
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        out.append(f'<text class="q" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{_safe(self.x_name)}</text>')
        side = (TOP + HEIGHT - BOTTOM) / 2
        out.append(
            f'<text class="q" transform="translate(13 {side})rotate(-90)" text-anchor="middle">'
            f"{_safe(self.y_name)}</text>"
        )
        return out

    def _legend(self) -> list[str]:
        if len(self.lines) < 2:
            return []
        out, right = [], WIDTH - RIGHT
        for number, line in reversed(list(enumerate(self.lines))):
            name = line.name if len(line.name) <= 24 else line.name[:23] + "…"
            right -= 7 * len(name) + 22
            if right < LEFT + 7 * len(self.title):
                out.append(f'<text class="q" x="{right + 7 * len(name) + 14}" y="18" text-anchor="end">…</text>')
                break
            out.append(f'<path stroke="{COLOURS[number % len(COLOURS)]}" stroke-width="3" d="M{right} 14h12"/>')
            out.append(f'<text class="q" x="{right + 16}" y="18">{_safe(name)}</text>')
        return out

    def _words(self, known: np.ndarray) -> str:
        if not len(known):
            return f"{self.title}: nothing to show yet"
        return f"{self.title}: {len(self.x):,} points, from {known.min():.4g} to {known.max():.4g}"

    def _repr_html_(self) -> str:
        return self.svg

    def _repr_svg_(self) -> str:
        """By itself, as a picture: it then has to bring its own colours."""
        own = f"<style>svg{{{DAY}}}@media(prefers-color-scheme:dark){{svg{{{NIGHT}}}}}</style>"
        head, rest = self.svg.split("<style>", 1)
        return f"{head}{own}<style>{rest}"

    def __repr__(self) -> str:
        return f"<LinePlot {self.title}: {', '.join(line.name for line in self.lines)}; {len(self.x):,} points>"


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def over(cls, values: np.ndarray, start: float, stop: float, room: float = 0.0) -> _Scale:
        low, high = float(values.min()), float(values.max())
        if high - low <= abs(high) * 1e-12:
            low, high = low - 0.5, high + 0.5
        wide = (high - low) * room
        return cls(low - wide, high + wide, start, stop)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return self.start + (values - self.low) / (self.high - self.low) * (self.stop - self.start)


def _path(x: np.ndarray, y: np.ndarray) -> str:
    """Where a value is missing the line begins anew; a value alone is a dot."""
    pieces, pen = [], False
    for left, top in zip(x.tolist(), y.tolist(), strict=True):
        if top != top:
            pen = False
            continue
        pieces.append(f"{'L' if pen else 'M'}{left:.1f} {top:.1f}{'' if pen else 'h0'}")
        pen = True
    return "".join(pieces)


def _safe(text: str) -> str:
    return html.escape(text, quote=True)
