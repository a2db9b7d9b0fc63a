"""`rolltape stress`."""

from __future__ import annotations

import contextlib
import json as json_format
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Lake, given

if TYPE_CHECKING:
    from rolltape.actors.stress import StressReport

DIFFERS = 3
"""Exit code where a row came out other than it went in."""
SYNTHETIC = "With --synthetic"
OF_SYNTHETIC = ("envs", "workers", "steps", "frames", "env_kwargs")
OF_A_RUN = {"run": "RUN", "lake": "--lake", "players": "--players"}
"""Parameters that are for one of the two alone."""


def stress(
    ctx: typer.Context,
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run id, its beginning, or 'latest'.")] = "latest",
    lake: Lake = Path("lake"),
    into: Annotated[Path, typer.Option("--into", metavar="DIR", help="Lake that the load is recorded into.")] = Path(
        "stress-lake"
    ),
    rate: Annotated[
        str,
        typer.Option(metavar="RATE", help="0.25x the recorded pace, 2000/s in steps, or unlimited."),
    ] = "unlimited",
    players: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes that send.", show_default="one a producer, CPUs - 1 at most"),
    ] = None,
    check: Annotated[bool, typer.Option(help="Compare every row with what went in.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Step the synthetic environment instead.", rich_help_panel=SYNTHETIC)
    ] = False,
    envs: Annotated[
        int, typer.Option("--envs", "-n", min=1, metavar="N", help="Sub-environments.", rich_help_panel=SYNTHETIC)
    ] = 8,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Processes that share them.", show_default="CPUs - 1", rich_help_panel=SYNTHETIC
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, metavar="S", help="Record so many steps.", rich_help_panel=SYNTHETIC)
    ] = 100_000,
    frames: Annotated[
        str, typer.Option(metavar="POLICY", help="As for `rolltape record`.", rich_help_panel=SYNTHETIC)
    ] = "auto",
    env_kwargs: Annotated[
        list[str] | None,
        typer.Option(
            "--env-kwargs",
            "-k",
            metavar="NAME=VALUE",
            help="observation_bytes, frame_size, observes_frames, episode_length, info_keys, compressibility.",
            rich_help_panel=SYNTHETIC,
        ),
    ] = None,
) -> None:
    """Load the pipeline with a recorded run, or with a synthetic environment.

    A run's rows go once more through producers, hub and writer, into another
    lake, and are compared with what went in. The report has the rate that was
    asked for and reached, lag, waits and bytes in flight. Exit code 0: all
    rows are equal (of --synthetic: every episode replays). 3: one is not.

    Examples:

    rolltape stress 01J8 --rate 0.25x

    rolltape stress --rate unlimited --into /scratch/load

    rolltape stress --synthetic -n 64 --rate 20000/s -k observation_bytes=4096
    """
    from .record import arguments_of, checked_option, frames_of

    _refuse_what_counts_for_nothing(ctx, synthetic)
    options: dict[str, Any] = {"rate": rate, "check": check, "progress": False if quiet else None}
    with contextlib.redirect_stdout(sys.stderr):
        if synthetic:
            from rolltape.actors.stress import stress_synthetic

            report = stress_synthetic(
                into,
                num_envs=envs,
                num_workers=workers,
                steps=steps,
                frames=checked_option("--frames", frames_of, frames),
                env_kwargs=checked_option("--env-kwargs", arguments_of, env_kwargs),
                **options,
            )
        else:
            from rolltape.actors.stress import stress as stress_run
            from rolltape.storage.lake import open_lake

            report = stress_run(open_lake(lake).run(run), into, players=players, **options)
    if json:
        print(json_format.dumps(_as_json(report)))
    else:
        _print(report)
    if report.difference is not None:
        raise typer.Exit(DIFFERS)


def _refuse_what_counts_for_nothing(ctx: typer.Context, synthetic: bool) -> None:
    """Raise ConfigError for what only the other kind of load looks at."""
    from rolltape.schema.errors import ConfigError

    if synthetic:
        idle = [word for name, word in OF_A_RUN.items() if given(ctx, name)]
        why = "with --synthetic no recorded run is played back"
    else:
        idle = [f"--{name.replace('_', '-')}" for name in OF_SYNTHETIC if given(ctx, name)]
        why = "a recorded run makes no environment; these are for --synthetic"
    if idle:
        raise ConfigError(f"stress: leave out {', '.join(idle)}: {why}.")


def _print(report: StressReport) -> None:
    from .output import facts
    from .summary import mib

    s = report.summary
    asked = "unlimited" if report.asked_per_s is None else f"{report.asked_per_s:,.0f} steps/s"
    reached = f"{report.reached_per_s:,.0f} steps/s"
    if report.times is not None:
        reached += f", {report.times:.3g} times the recorded pace"
    known = {
        "played back": report.source,
        "run": s.run_id,
        "path": s.path,
        "steps": f"{s.steps:,}",
        "asked": asked,
        "reached": reached,
        "late": None if report.late_s is None else f"{report.late_s:.2f} s at most",
        "durable lag": f"{s.lag_high_s:.2f} s at most",
        "waited": f"{s.waited_s:.1f} s for room",
        "in flight": f"{mib(s.inflight_high_bytes)} at most",
        "on disk": f"{mib(s.bytes)}, {s.bytes_per_step:,.1f} bytes a step",
        "rows": (str(report.difference) if report.difference else "all equal") if report.checked else "not compared",
    }
    facts({name: value for name, value in known.items() if value is not None})


def _as_json(report: StressReport) -> dict[str, Any]:
    """The report for programs: its fields; `difference` as text, null where all is equal."""
    difference = None if report.difference is None else str(report.difference)
    fields = ("source", "asked_per_s", "reached_per_s", "times", "late_s", "checked")
    found: dict[str, Any] = {name: getattr(report, name) for name in fields}
    return {**found, "difference": difference, "summary": asdict(report.summary)}
