"""Disks that are full, read-only, gone, slow or broken while a run is recorded: producers wait, then the run stops with one
clear error; what was acknowledged is there; when the disk is in order again the run goes on.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rolltape.actors.fleet import Fleet
from rolltape.actors.on_ray import launch
from rolltape.schema.errors import DiskFull, LakeNotFound, LakeNotWritable, StorageError
from rolltape.storage.layout import RunFolder
from rolltape.storage.verify import verify_run
from tests.ray.readback import read_back
from tests.ray.rules import check_end, check_recording

from .disks import MIB, WriterOnBadDisk, disk, fill, mount_again, set_fault, turn_read_only

pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(180)]

NOISE = {"step_rate": 200, "frame_size": 128, "observes_frames": True, "compressibility": 0.0, "episode_length": 20}
"""About 10 MB a second that nothing compresses."""
TOTAL = 24 * MIB
QUICK: dict[str, Any] = {
    "fragment": {"max_age_s": 0.1, "max_bytes": 2 * MIB},
    "commit": {"max_age_s": 0.15},
    "budget": {"give_up_s": 3.0, "total_bytes": TOTAL},
}


def fleet(lake: Path, **kwargs: Any) -> Fleet:
    asked: dict[str, Any] = {"num_workers": 1, "cpus_per_worker": 0.01, "env_kwargs": NOISE, **QUICK, **kwargs}
    return Fleet("rolltape/Synthetic-v0", 2, lake, **asked)


def verdict(run: Path) -> str:
    return verify_run(RunFolder(run)).verdict


def go_on(lake: Path, run: Path, steps_before: int, *, pages: bool = True) -> None:
    """Verify, resume and verify once more: no step is gone or there twice, and what was lost is declared.

    `pages`: the producers' pages outlived it; where they did not, nobody knows how much was lost.
    """
    assert verdict(run) in ("clean", "lossy")
    with Fleet(lake=lake, resume="latest", cpus_per_worker=0.01) as again:
        assert again.resumed is not None and again.resumed.steps >= steps_before
        again.collect(steps=60)
    found = read_back(run)
    check_recording(found)
    if pages:
        check_end(found, again.summary)
    assert verdict(run) in ("clean", "lossy")


def collect_until(one: Fleet, error: type[Exception]) -> str:
    with pytest.raises(error) as raised:
        while True:
            one.collect(steps=200, progress=False)
    return str(raised.value)


def test_a_full_disk_stops_the_run_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with disk(tmp_path, 160) as place:
        lake = place / "lake"
        one = fleet(lake)
        run = one.run.path
        one.collect(steps=40)
        ballast = fill(place, MIB)
        told = collect_until(one, DiskFull)
        assert str(run) in told and "bytes were to be written" in told and "free some space" in told
        assert one._recording.counts().inflight_high_bytes <= TOTAL + 4 * MIB, "the budget holds what waits"
        found = read_back(run)
        check_recording(found)
        steps = len(found.column("steps", "t"))
        assert steps >= 40, "what was acknowledged is there"
        with pytest.raises(DiskFull, match="needs at least"):
            Fleet(lake=lake, resume="latest")
        ballast.unlink()
        go_on(lake, run, steps)


@pytest.mark.long
def test_room_that_comes_in_time_costs_nothing(tmp_path: Path) -> None:
    with disk(tmp_path, 160) as place, fleet(place / "lake", budget={"give_up_s": 60, "total_bytes": TOTAL}) as one:
        run = one.run.path
        one.collect(steps=40)
        ballast = fill(place, MIB)
        timer = threading.Timer(6.0, ballast.unlink)
        timer.start()
        one.collect(steps=2_000)
        timer.join()
    assert one.summary is not None and one.summary.lost_steps == 0
    assert one.summary.waited_s > 0, "the environment stood still"
    assert verdict(run) == "clean"


@pytest.mark.long
def test_a_disk_that_turns_read_only(tmp_path: Path) -> None:
    with disk(tmp_path, 200, "ext4") as place:
        lake = place / "lake"
        one = fleet(lake)
        run = one.run.path
        one.collect(steps=40)
        turn_read_only(place)
        told = collect_until(one, LakeNotWritable)
        assert str(run) in told and "Read-only file system" in told
        steps = len(read_back(run).column("steps", "t"))
        assert steps >= 40
        report = verify_run(RunFolder(run))
        assert report.verdict == "failed" and "cannot be settled here" in " ".join(f.text for f in report.findings)
        with pytest.raises(LakeNotWritable):
            Fleet(lake=lake, resume="latest")
        mount_again(tmp_path)
        go_on(lake, run, 40, pages=False)


@pytest.mark.long
@pytest.mark.parametrize("how", ["moved", "unmounted"])
def test_a_disk_that_vanishes(tmp_path: Path, how: str) -> None:
    with disk(tmp_path, 200, "ext4") as place:
        lake = place / "lake"
        one = fleet(lake)
        run = one.run.path
        one.collect(steps=40)
        if how == "moved":
            lake.rename(place / "elsewhere")
        else:
            subprocess.run(["umount", "-l", str(place)], check=True)
        told = collect_until(one, LakeNotFound)
        assert str(run) in told
        if how == "moved":
            (place / "elsewhere").rename(lake)
        else:
            subprocess.run(["mount", "-o", "loop", str(tmp_path / "disk.img"), str(place)], check=True)
        go_on(lake, run, 40)


@pytest.fixture
def bad_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setattr(launch, "Writer", WriterOnBadDisk)
    yield tmp_path
    set_fault(tmp_path, "")


@pytest.mark.long
def test_errors_of_the_disk_that_pass_cost_nothing(bad_disk: Path) -> None:
    with fleet(bad_disk / "lake", budget={"give_up_s": 60, "total_bytes": TOTAL}) as one:
        run = one.run.path
        one.collect(steps=40)
        set_fault(bad_disk, "EIO")
        timer = threading.Timer(3.0, set_fault, (bad_disk, ""))
        timer.start()
        one.collect(steps=1_000)
        timer.join()
    assert one.summary is not None and one.summary.lost_steps == 0
    assert verdict(run) == "clean"


@pytest.mark.long
def test_a_disk_that_is_broken_stops_the_run(bad_disk: Path) -> None:
    one = fleet(bad_disk / "lake")
    run = one.run.path
    one.collect(steps=40)
    set_fault(bad_disk, "EIO")
    told = collect_until(one, StorageError)
    assert str(run) in told and "Input/output error" in told
    set_fault(bad_disk, "")
    go_on(bad_disk / "lake", run, 40)


@pytest.mark.long
def test_a_slow_disk_holds_the_environment_and_loses_nothing(bad_disk: Path) -> None:
    with fleet(bad_disk / "lake", budget={"give_up_s": 60, "total_bytes": 8 * MIB}) as one:
        run = one.run.path
        one.collect(steps=40)
        set_fault(bad_disk, "0.1")
        began = time.monotonic()
        one.collect(steps=600)
        took_s = time.monotonic() - began
        set_fault(bad_disk, "")
    assert one.summary is not None and one.summary.lost_steps == 0
    assert took_s > 600 / 200, "slower than its own pace"
    assert one.summary.waited_s > 0 and one.summary.inflight_high_bytes <= 12 * MIB
    assert verdict(run) == "clean"
