"""Who draws a plot: Altair or matplotlib where they are installed, else our own SVG."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from rolltape.schema.errors import ConfigError, MissingExtra

from .line_plot import COLOURS, HEIGHT, POINTS, WIDTH, LinePlot
from .lines import thinned


def drawn(plot: LinePlot, backend: str | None) -> Any:
    """The plot as an object of that backend. Raises ConfigError for an unknown one, MissingExtra for one not there."""
    if backend is None:
        backend = next(name for name in BACKENDS if name == "svg" or importlib.util.find_spec(name) is not None)
    if backend not in BACKENDS:
        raise ConfigError(f"backend: expected {', '.join(BACKENDS)} or None, got {backend!r}.")
    try:
        return BACKENDS[backend](plot)
    except ModuleNotFoundError as error:
        if error.name != backend:
            raise
        raise MissingExtra(f"backend={backend!r} needs {backend}: pip install {backend}") from None


def _altair(plot: LinePlot) -> Any:
    altair = importlib.import_module("altair")
    x, thin = thinned(plot.x, [line.values for line in plot.lines], POINTS)
    names = [line.name for line in plot.lines]
    values = [
        {"x": place, "y": value, "line": line.name}
        for line, column in zip(plot.lines, thin, strict=True)
        for place, value in zip(x.tolist(), column.tolist(), strict=True)
        if np.isfinite(value)
    ]
    thick = [1.0 if line.faint else 2.0 for line in plot.lines]
    colour = altair.Color("line:N", title=None, scale=altair.Scale(domain=names, range=_colours(len(names))))
    chart = _offline_chart(altair, plot)
    return (
        chart(altair.Data(values=values), title=plot.title, width=WIDTH - 80, height=HEIGHT - 60)
        .mark_line()
        .encode(
            x=altair.X("x:Q", title=plot.x_name),
            y=altair.Y("y:Q", title=plot.y_name, scale=altair.Scale(zero=False)),
            color=colour if len(names) > 1 else altair.value(COLOURS[0]),
            strokeWidth=altair.StrokeWidth("line:N", legend=None, scale=altair.Scale(domain=names, range=thick)),
            tooltip=[altair.Tooltip("line:N"), altair.Tooltip("x:Q"), altair.Tooltip("y:Q")],
        )
    )


def _offline_chart(altair: Any, plot: LinePlot) -> type[Any]:
    """An `altair.Chart` that a notebook shows without the network, from which Altair's own takes the code that draws.

    The notebook draws it itself, where it knows how to; others show our own drawing, which is of the whole plot as it
    was made. A renderer that was enabled on purpose is left alone.
    """

    class Chart(altair.Chart):  # type: ignore[misc]
        def _repr_mimebundle_(self, *args: Any, **kwargs: Any) -> Any:
            if altair.renderers.active != "default":
                return super()._repr_mimebundle_(*args, **kwargs)
            with altair.renderers.enable("mimetype"):
                bundle = super()._repr_mimebundle_(*args, **kwargs)
            data = bundle[0] if isinstance(bundle, tuple) else bundle
            return {**data, "image/svg+xml": plot.svg}

    return Chart


def _matplotlib(plot: LinePlot) -> Any:
    importlib.import_module("matplotlib")
    figures = importlib.import_module("matplotlib.figure")
    figure = figures.Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, layout="constrained")
    axes = figure.subplots()
    x, thin = thinned(plot.x, [line.values for line in plot.lines], POINTS)
    for line, values, colour in zip(plot.lines, thin, _colours(len(plot.lines)), strict=True):
        axes.plot(
            x, values, label=line.name, color=colour, lw=0.8 if line.faint else 1.6, alpha=0.5 if line.faint else 1
        )
    axes.set(title=plot.title, xlabel=plot.x_name, ylabel=plot.y_name)
    axes.grid(alpha=0.25)
    if len(plot.lines) > 1:
        axes.legend(frameon=False)
    return figure


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


BACKENDS: Final[dict[str, Callable[[LinePlot], Any]]] = {
    "altair": _altair,
    "matplotlib": _matplotlib,
    "svg": lambda plot: plot,
}
"""In the order of preference."""
