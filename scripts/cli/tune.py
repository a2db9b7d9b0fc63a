"""`rolltape tune`."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rolltape.schema.errors import ConfigError
from rolltape.schema.log_policy import configure_logging

from .options import ConfigFile, SetKeys
from .settled import settled

if TYPE_CHECKING:
    from rolltape.actors.tuning import Tuned

COLUMNS = (
    ("fragment", "fragment_bytes", lambda v: f"{v / (1 << 20):g} MiB"),
    ("commit", "commit_bytes", lambda v: f"{v / (1 << 20):g} MiB"),
    ("worker us/step", "worker_us", lambda v: f"{v:,.2f}"),
    ("writer us/step", "writer_us", lambda v: f"{v:,.2f}"),
    ("steps/s", "steps_per_s", lambda v: f"{v:,.0f}"),
    ("queue", "queue_depth", str),
    ("flush s", "flush_s", lambda v: f"{v:.3f}"),
    ("worst", "flush_high_s", lambda v: f"{v:.3f}"),
    ("waited", "waited", lambda v: f"{v:.0%}"),
    ("bytes/step", "bytes_per_step", lambda v: f"{v:,.1f}"),
    ("MiB", "memory_mib", str),
)


def tune(
    env: Annotated[str, typer.Argument(metavar="ENV", help="A registered id, or module:callable.")],
    envs: Annotated[int, typer.Option("--envs", "-n", min=1, metavar="N", help="Sub-environments of the worker.")] = 8,
    seconds: Annotated[float, typer.Option(min=4, metavar="S", help="Seconds that each recording steps, about.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="How often each size is recorded, in turns.")] = 2,
    env_kwargs: Annotated[
        list[str] | None,
        typer.Option("--env-kwargs", "-k", metavar="NAME=VALUE", help="An argument of the environment."),
    ] = None,
    lake: Annotated[
        Path | None, typer.Option(help="Where recordings will be: its disk is measured.", show_default="lake")
    ] = None,
    config: ConfigFile = None,
    set_keys: SetKeys = None,
    keep: Annotated[bool, typer.Option("--keep/--dry-run", help="Write the preset, or only show it.")] = True,
) -> None:
    """Measure a few sizes of fragments and commits with one environment on this machine, and keep the best as a preset.

    Records with one worker, in turns, and throws the recordings away. The
    preset says what was measured; a recording of that environment on this
    machine takes it by itself (preset = auto), any other setting beats it.

    Examples:

    rolltape tune CartPole-v1 --envs 64

    rolltape tune ALE/Breakout-v5 --seconds 15 --rounds 3 --dry-run
    """
    from .record import arguments_of, checked_option

    kwargs = checked_option("--env-kwargs", arguments_of, env_kwargs)
    settings = settled(env, config, set_keys, {"lake": ("--lake", lake)})
    configure_logging(settings.config.logging.model_copy(update={"level": "warning"}), "program")
    from rolltape.actors.tuning import tune as measure

    root = settings.config.lake.expanduser().resolve()
    if root.exists() and not root.is_dir():
        raise ConfigError(f"--lake: {root} is a file; a lake is a folder, which need not exist yet")
    while not root.is_dir():
        root = root.parent
    folder = Path(tempfile.mkdtemp(prefix=".rolltape-tune-", dir=root))
    try:
        found = measure(
            env, settings, folder, num_envs=envs, seconds=seconds, rounds=rounds, env_kwargs=kwargs, tell=_tell
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _print(found)
    _write(found, settings.config.lake, rounds, seconds, keep=keep)


def _tell(text: str) -> None:
    print(f"rolltape: {text}", file=sys.stderr)


def _print(found: Tuned) -> None:
    rows = [[show(row[name]) for _, name, show in COLUMNS] for row in found.rows()]
    titles = [title for title, _, _ in COLUMNS]
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    print(f"without recording: {found.bare_us:.3g} us/step, {found.bare_steps_per_s:,.0f} steps/s")
    for row in (titles, *rows):
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))
    print(found.why)


def _write(found: Tuned, lake: Path, rounds: int, seconds: float, *, keep: bool) -> None:
    from rolltape.actors.run_description import package_versions
    from rolltape.storage.host import host_name, host_of, user_folder
    from rolltape.storage.preset_file import preset_name, preset_text, write_preset

    host, name = host_of(lake), preset_name(found.env_id)
    head = {"name": name, "matches": [found.env_id], "why": found.why, "host": host_name()}
    evidence: dict[str, Any] = {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": host.cores,
        "memory_bytes": host.memory_bytes,
        "disk_bytes_s": round(host.disk_bytes_s or 0),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0,
        "platform": platform.platform(),
        "versions": ", ".join(f"{package} {version}" for package, version in package_versions().items()),
        "num_envs": found.num_envs,
        "rounds": rounds,
        "seconds": seconds,
        "bare_us": float(f"{found.bare_us:.4g}"),
        "bare_steps_per_s": float(f"{found.bare_steps_per_s:.4g}"),
        "tried": list(found.rows()),
    }
    text = preset_text(head, found.settings(), evidence)
    if not keep:
        print(f"\n{text}", end="")
        return
    print(f"preset {name}: {write_preset(user_folder() / 'presets', name, text)}")
