"""The demo: record three environments, then look at what was recorded, in less than a minute.

`python -m rolltape.scripts.demo [--lake DIR]`. Nothing here is more than what the README shows.
"""

from __future__ import annotations

import argparse
import shutil
import struct
import sys
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolltape.schema.errors import MissingExtra, RolltapeError

if TYPE_CHECKING:
    import numpy as np

    from rolltape.actors.end_summary import EndSummary
    from rolltape.storage.lake import Lake
    from rolltape.storage.relation import Relation

QUERY = (
    "select env_id, count(*) as n, round(avg(length), 1) as mean_length, max(return) as best "
    "from episodes where status = 'completed' group by env_id order by env_id"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """One environment of the demo, and how much of it."""

    env: str
    num_envs: int
    steps: int
    why: str
    settings: dict[str, Any] = field(default_factory=dict)


SCENES = (
    Scene("CartPole-v1", 64, 200_000, "many small steps"),
    Scene("ALE/Breakout-v5", 8, 2_000, "every frame, lossless", {"frames": "observation"}),
    Scene("LunarLander-v3", 4, 1_000, "a picture every fourth step", {"frames": {"policy": "render", "every": 4}}),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit code is 0 when everything was recorded."""
    parser = argparse.ArgumentParser(prog="python -m rolltape.scripts.demo", description=__doc__)
    parser.add_argument("--lake", type=Path, default=Path("lake"), help="folder of recordings (default: lake)")
    lake = parser.parse_args(arguments).lake
    began = time.monotonic()
    try:
        recorded = record(lake)
        look(lake, recorded)
    except RolltapeError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"demo: interrupted; what was recorded can be read: rolltape runs --lake {lake}", file=sys.stderr)
        return 130
    print(f"\nAll this took {time.monotonic() - began:.0f} seconds.")
    return 0


def record(lake: Path) -> list[EndSummary]:
    """Record the scenes whose packages are installed, one run each."""
    from rolltape.actors.on_ray import cluster

    print("starting Ray on this machine …", flush=True)
    cluster.ensure_ray()
    return [summary for scene in SCENES if (summary := _record(scene, lake)) is not None]


def _record(scene: Scene, lake: Path) -> EndSummary | None:
    from rolltape.actors.fleet import Fleet

    print(f"{scene.env}: {scene.num_envs} sub-environments, {scene.steps:,} steps, {scene.why}", flush=True)
    try:
        fleet = Fleet(scene.env, num_envs=scene.num_envs, lake=lake, **scene.settings)
    except MissingExtra as error:
        print(f"  left out: {error}")
        return None
    with fleet:
        fleet.collect(steps=scene.steps, policy="random")
    summary = fleet.close()
    print(f"  {summary.steps_per_s:,.0f} steps/s, {summary.bytes_per_step:,.1f} bytes a step, all of it durable")
    return summary


def look(lake: Path, recorded: list[EndSummary]) -> None:
    """Print what was recorded, as the command line does, and save one picture."""
    from rolltape.storage.lake import open_lake

    from .cli import episodes, runs
    from .cli.options import Format
    from .cli.output import show
    from .cli.summary import lake_option

    opened, where = open_lake(lake), lake_option(lake)
    ids = ", ".join(f"'{summary.run_id}'" for summary in recorded)

    def table(command: str, relation: Relation, columns: Sequence[str] = ()) -> None:
        print(f"\n$ rolltape {command}{where}")
        show(relation, form=Format.table, limit=3, output=None, columns=columns)

    table("runs", opened.runs(f"run_id in ({ids})"), runs.COLUMNS)
    newest = recorded[-1].run_id
    best = opened.episodes("status = 'completed'", run=newest).order("return desc")
    table(f"episodes {newest} --where \"status = 'completed'\" --order 'return desc'", best, episodes.COLUMNS)
    table(f'sql "{QUERY}"', opened.sql(QUERY.replace("where", f"where run_id in ({ids}) and")))
    _save_picture(opened, recorded)
    print(f"\nTo go on:\n{_activation()}  rolltape info{where}")
    print(f"  rolltape record Acrobot-v1 --envs 8 --steps 10000{where}")
    print(f'  python -c \'import rolltape as rt; print(rt.open("{lake}").episodes("length > 100").df())\'')
    print("  docs/guide.md says how to record in a loop of your own, and everything else")


def _activation() -> str:
    """A line that makes the commands below it work, where they would not be found."""
    if shutil.which("rolltape"):
        return ""
    prefix = Path(sys.prefix)
    here = prefix.relative_to(Path.cwd()) if prefix.is_relative_to(Path.cwd()) else prefix
    return f"  source {here}/bin/activate\n"


def _save_picture(lake: Lake, recorded: list[EndSummary]) -> None:
    with_frames = [summary.run_id for summary in recorded if summary.frames]
    if not with_frames:
        return
    run = lake.run(with_frames[0])
    episode = run.episodes().order("length desc").limit(1).to_dicts()[0]
    number, t = episode["episode"], episode["length"] // 2
    path = lake.path.with_name(f"{lake.path.name}-frame.png")
    path.write_bytes(png(run.frame(number, t)))
    print(f"\nThe picture before step {t} of episode {number} of {run.env_id}: {path}")


def png(picture: np.ndarray) -> bytes:
    """A picture of (height, width, 3) bytes as a PNG file."""
    height, width, _ = picture.shape
    rows = b"".join(b"\0" + row.tobytes() for row in picture)  # each row begins with its filter: none

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    raise SystemExit(main())
