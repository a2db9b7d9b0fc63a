"""What a notebook shows of a recording. Runs, episodes and pictures come here through `storage/viewing.py`."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from rolltape.schema.errors import ConfigError, LakeNotFound, MissingExtra

from .cards import episode_card, lake_card, run_card, summary_card
from .episode_lines import SO_FAR, episode_lines
from .line_plot import Line, LinePlot
from .lines import smoothed
from .plot_backends import drawn
from .pngs import shown_part

if TYPE_CHECKING:
    from rolltape.storage.runs import Run

__all__ = ["episode_html", "lake_html", "live", "picture_png", "plot", "replay", "run_html", "summary_html"]

episode_html, lake_html, run_html, summary_html = episode_card, lake_card, run_card, summary_card


def plot(run: Run, what: str, episode: int | None = None, backend: str | None = None) -> Any:
    """See `Run.plot`."""
    made = _of_episodes(run, what) if episode is None else _of_steps(run, what, int(episode))
    return drawn(made, backend)


def live(run: Run, tiles: int, size: int, hz: float | None) -> Any:
    """See `Run.live`."""
    return _widgets().live(run, tiles, size, hz)


def replay(run: Run, episode: int, kind: str | None) -> Any:
    """See `Run.replay`."""
    return _widgets().replay(run, int(episode), kind)


def _widgets() -> Any:
    try:
        from . import widgets
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rolltape"):
            raise
        raise MissingExtra(f"widgets need {error.name}: pip install 'rolltape[notebook]'") from None
    return widgets


def picture_png(picture: np.ndarray) -> bytes | None:
    """A picture as PNG, without loss and without Pillow; None for an array that is no picture."""
    try:
        shown = shown_part(picture)
    except LakeNotFound:
        return None
    height, width, *channels = shown.shape
    colour = {(): 0, (3,): 2, (4,): 6}[tuple(channels)]
    rows = shown.reshape(height, -1)
    scanlines = np.zeros((height, rows.shape[1] + 1), np.uint8)  # the first byte of a row: no filter
    scanlines[:, 1:] = rows
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", head)
        + _chunk(b"IDAT", zlib.compress(scanlines.tobytes(), 1))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


NUMBERS = ("return", "length")


def _of_episodes(run: Run, what: str) -> LinePlot:
    if what not in NUMBERS:
        some = f"; give episode= for numbers of its steps, as in run.plot({what!r}, episode=0)" if what else ""
        raise ConfigError(f"plot: episodes have {' and '.join(NUMBERS)}, got {what!r}{some}.")
    found = run.episodes("status = 'completed'").select(f'"{what}"', "end_time", "episode").to_arrow()
    found = found.sort_by([("end_time", "ascending"), ("episode", "ascending")])
    values = found.column(what).to_numpy(zero_copy_only=False).astype(np.float64)
    lines = [Line(what, values, faint=True), Line("mean of the nearest", smoothed(values))]
    title = f"{run.env_id or '?'}: {what} of {len(values):,} episodes"
    return LinePlot(title, "completed episodes", what, np.arange(len(values), dtype=np.float64), lines)


def _of_steps(run: Run, what: str, episode: int) -> LinePlot:
    found = run.episode(episode)
    table = run.lake.episode_rows.read(run.run_id, "steps", episode)
    columns = episode_lines(table, run.info.get("adapter") or {})
    alone = {name: {name: values} for lines in columns.values() for name, values in lines.items()}
    lines = columns.get(what) or alone.get(what)
    if lines is None:
        known = list(dict.fromkeys([*columns, *alone]))
        raise ConfigError(f"plot: episode {episode} has {', '.join(known[:30])}; got {what!r}.")
    t = table.column("t").to_numpy().astype(np.float64) if len(table) else np.empty(0)
    result = "" if found.return_ is None else f", return {found.return_:g}"
    title = f"{run.env_id or '?'}: episode {episode}, {found.length:,} steps{result}"
    x, lines = _with_gaps(t, lines)
    unit = what if what != SO_FAR else "return"
    return LinePlot(title, "t", unit, x, [Line(name, values) for name, values in lines.items()])


def _with_gaps(t: np.ndarray, lines: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Where steps are missing a NaN stands between their neighbours, so that no line is drawn over the gap."""
    at = np.flatnonzero(np.diff(t) > 1) + 1
    if not len(at):
        return t, lines
    return np.insert(t, at, t[at - 1] + 1), {name: np.insert(values, at, np.nan) for name, values in lines.items()}
