"""`rolltape video`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import Lake, Which
from .replay import Make


class Kind(StrEnum):
    """Which pictures a film is made of."""

    observation = "observation"
    render = "render"


def video(
    run: Which = "latest",
    lake: Lake = Path("lake"),
    episode: Annotated[int, typer.Option("--episode", "-e", help="Number of the episode.")] = 0,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file: .gif, .mp4, .webm or .mkv.", show_default="episode-N.mp4")
    ] = Path(),
    first: Annotated[int, typer.Option("--from", min=0, metavar="T", help="The first step shown.")] = 0,
    last: Annotated[
        int | None, typer.Option("--to", min=0, metavar="T", help="The last step shown.", show_default="the end")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1000,
            metavar="FPS",
            help="Steps a second at speed 1, 0.01 to 1000.",
            show_default="what the environment says, or 30",
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.01, max=1000, metavar="X", help="2 shows it in half the time; 0.01 to 1000.")
    ] = 1.0,
    kind: Annotated[
        Kind | None, typer.Option(help="Which pictures: observation or render.", show_default="whichever there is")
    ] = None,
    make: Make = None,
) -> None:
    """Write an episode's pictures as a film.

    Pictures of a run that stores none (frames=replay) are drawn again, after
    the replay was compared with the recording. Needs the extra `video`.

    Examples:

    rolltape video --episode 12 --out twelve.gif

    rolltape video 01J8 -e 3 -o end.mp4 --from 200 --speed 0.5
    """
    from rolltape.actors.rerender import open_lake

    target = out if out != Path() else Path(f"episode-{episode}.mp4")
    recorded = open_lake(lake, make=make).run(run)
    recorded.video(episode, target, first=first, last=last, fps=fps, speed=speed, kind=kind)
    typer.echo(f"{target}: {target.stat().st_size:,} bytes")
