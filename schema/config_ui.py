"""What viewers show. Nothing here reaches a producer's buffers or the writer: what is recorded is in `durable`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .config_base import Frozen, Risk, Unit

Renderer = Literal["rgb", "grid", "graph", "text"]
ENCODING_COST = "each picture in view is copied by the thread that steps and encoded by the gateway"


class UiConfig(Frozen):
    """What the page, the notebook and the terminal show, and how often."""

    view_hz: Annotated[float, Field(gt=0, le=60), Unit("1/s"), Risk(ENCODING_COST, above=30)] = 10.0
    """Pictures a second of each tile in view. Ten look alive and cost a tenth of what stepping Breakout costs."""
    tile_px: Annotated[int, Field(ge=16, le=1024), Unit("px"), Risk(ENCODING_COST, above=512)] = 160
    """The longer side of a tile. A hundred of this size fill a screen."""
    jpeg_quality: Annotated[int, Field(ge=10, le=100), Unit("%")] = 80
    """Quality of tiles. What is recorded is lossless, whatever stands here."""
    max_tiles: Annotated[int, Field(ge=1, le=4096), Unit("tiles"), Risk(ENCODING_COST, above=256)] = 64
    """Tiles shown at once; further ones come when they are scrolled to."""
    renderers: Annotated[tuple[Renderer, ...], Field(min_length=1)] = ("grid", "graph", "rgb", "text")
    """What tiles show: the first of these kinds that an environment offers. `rgb` is an observation that is an image,
    a recorded render, or a render for the view; `text` also the numbers of an observation. A state comes first: it
    costs least and has words."""
    scalars_hz: Annotated[float, Field(ge=0.5, le=20), Unit("1/s")] = 2.0
    """How often counters and plots of a live page move. Producers report four times a second; beyond that only
    credits and latencies move."""
