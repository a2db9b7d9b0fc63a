"""Faults by seed: which process is hit, how, and when; and what must hold of the recording afterwards.

A trial counts only when something was at stake: a commit was in progress (files in the writer's staging folder), or a
fragment was sent and not acknowledged. It waits until that is so. What sleeps here is the fault itself: when it strikes, how
long it lasts, drawn from the seed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from tests.ray.processes import ENV_WORKER, HUB, WRITER, actors, go_on
from tests.ray.readback import Found, read_back
from tests.ray.rules import check_recording, pages
from tests.ray.scripts import ROOT, family

from .keeper import KeeperProcess, Notes
from .noting import set_clock

TARGETS = (ENV_WORKER, WRITER, HUB)
STARTED_S = 150.0
"""Ray's own start, on a machine that does other things as well."""
GOES_ON_S = 120.0
"""A restart is measured, not waited for: a machine that does other things as well may take long."""
SLOW_LOOK_S = 0.05
"""Between two looks at the processes of the machine, which cost milliseconds."""


@dataclass(frozen=True)
class Fault:
    """`how` is kill, stop, or clock; one or two kinds of processes are hit within `apart_s` of each other."""

    how: str
    targets: tuple[str, ...]
    after_s: float
    apart_s: float = 0.0
    for_s: float = 0.0

    @classmethod
    def draw(cls, chance: random.Random) -> Fault:
        how = chance.choices(["kill", "stop", "clock"], [8, 2, 1])[0]
        count = chance.choices([1, 2], [2, 1])[0]
        targets = tuple(chance.sample(TARGETS, count))
        return cls(how, targets, chance.uniform(0.0, 0.4), chance.uniform(0.0, 0.2), chance.uniform(0.3, 1.5))


@dataclass
class Outcome:
    """What was measured.

    Attributes:
        restarts_s: seconds from the kill of an actor of a kind until its successor did something: an environment worker
            and a writer when the first of their fragments is acknowledged, a hub when it is there. Under the kind
            and, where it was one of a pair, a plus sign.
        losses_s: seconds of steps that were lost where everything was killed, of the producer that lost most.
        trials: faults by kind.
        acknowledged: fragments, each of which was found once.
    """

    restarts_s: dict[str, list[float]] = field(default_factory=dict)
    losses_s: list[float] = field(default_factory=list)
    trials: dict[str, int] = field(default_factory=dict)
    acknowledged: int = 0

    @property
    def count(self) -> int:
        return sum(self.trials.values())

    def add(self, kind: str) -> None:
        self.trials[kind] = self.trials.get(kind, 0) + 1


class Program:
    """The driver, outside of this process; ends with everything that it started."""

    def __init__(self, folder: Path, runs: int, *, usual: bool = False) -> None:
        self.folder, self._runs = folder, runs
        folder.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        environment["ROLLTAPE_LIVE__ENABLED"] = "false"  # nobody looks
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
        self.out = folder / "stdout.txt"
        file = ROOT / "tests" / "faults" / "driver.py"
        with self.out.open("w") as out, (folder / "stderr.txt").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, str(file), str(folder), str(runs), "usual" if usual else "quick"],
                cwd=folder, env=environment, stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip

    def lines(self) -> list[str]:
        return [line for line in self.out.read_text().splitlines() if line.startswith(("RUN ", "END ", "FAILED "))]

    def next_line(self, known: int, timeout_s: float = STARTED_S) -> str:
        ended = self.process.poll
        wait(lambda: len(self.lines()) > known or ended() is not None, timeout_s, "the driver's next word", SLOW_LOOK_S)
        found = self.lines()
        assert len(found) > known, (self.folder / "stderr.txt").read_text()[-3000:]
        return found[known]

    def kill_all(self) -> float:
        """SIGKILL to the driver and everything below it, at once; when, in UTC seconds."""
        victims = family(self.process.pid)
        at = time.time()
        for victim in victims:
            try:
                victim.kill()
            except psutil.Error:
                continue
        self.process.wait()
        return at

    def kill_alone(self) -> float:
        """SIGKILL to the driver, and wait until Ray has noticed and all of it is gone; when it was, in seconds."""
        victims = family(self.process.pid)
        began = time.monotonic()
        self.process.kill()
        self.process.wait()
        wait(lambda: not any(_lives(v) for v in victims), GOES_ON_S, "the end of Ray after its driver's", SLOW_LOOK_S)
        return time.monotonic() - began

    def close(self) -> None:
        self.kill_all()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def wait(ask: Callable[[], object], timeout_s: float, what: str, pause_s: float = 0.005) -> None:
    deadline = time.monotonic() + timeout_s
    while not ask():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain for {what}"
        time.sleep(pause_s)


def at_stake(run: Path, keeper: KeeperProcess) -> bool:
    """Whether a commit is in progress or something sent is not acknowledged."""
    for folder in (run / "staging").glob("w*"):
        if any(folder.iterdir()):
            return True
    return bool(keeper.notes().unacknowledged)


def inject(program: Program, run: Path, keeper: KeeperProcess, fault: Fault, outcome: Outcome) -> None:
    """Carry out one fault at a moment when something is at stake, and wait until the run goes on."""
    pid = program.process.pid
    titles = fault.targets if fault.how != "clock" else ()
    for title in titles:  # one that was killed before starts again
        wait(lambda t=title: actors(t, pid), GOES_ON_S, f"a {title}", SLOW_LOOK_S)
    acked = len(keeper.notes().acked)
    wait(lambda: len(keeper.notes().acked) > acked, GOES_ON_S, "an acknowledgement")
    time.sleep(fault.after_s)
    victims = {title: actors(title, pid)[-1:] for title in titles}
    wait(lambda: at_stake(run, keeper), 30, "something at stake")
    if fault.how == "clock":
        set_clock(run.parent.parent.parent, 3600.0 * (1 if fault.apart_s > 0.1 else -1))
    struck: dict[str, tuple[int, float]] = {}
    for number, title in enumerate(titles):
        time.sleep(fault.apart_s * number)
        try:
            for victim in victims[title]:
                os.kill(victim, signal.SIGKILL if fault.how == "kill" else signal.SIGSTOP)
                struck[title] = victim, time.monotonic()
        except ProcessLookupError:
            continue  # the other of a pair has taken it along, and it starts again
    if fault.how == "stop":
        time.sleep(fault.for_s)
        for victim, _ in struck.values():
            go_on(victim)
    assert struck or fault.how == "clock", "nobody was hit"
    _goes_on(pid, keeper, fault, struck, outcome)
    outcome.add(f"{fault.how} {' + '.join(_short(t) for t in sorted(titles))}".strip())


def _goes_on(
    pid: int, keeper: KeeperProcess, fault: Fault, struck: dict[str, tuple[int, float]], outcome: Outcome
) -> None:
    """Wait until everything that was hit works again, and note how long that took."""
    known = len(keeper.notes().acked)
    lives = {f[:2] for f in keeper.notes().sent}

    def acked() -> bool:
        return len(keeper.notes().acked) > known

    def acked_by_new_life() -> bool:
        return any(f[:2] not in lives for f in keeper.notes().acked[known:])

    waiting: dict[str, Callable[[], object]] = {}
    if fault.how == "kill":
        for title, (victim, _) in struck.items():
            there = lambda t=title, v=victim: set(actors(t, pid)) - {v}  # noqa: E731
            waiting[title] = {ENV_WORKER: acked_by_new_life, WRITER: acked, HUB: there}[title]
    else:
        waiting[""] = acked
    deadline = time.monotonic() + GOES_ON_S
    while waiting:
        assert time.monotonic() < deadline, f"waited {GOES_ON_S:g} s in vain after {fault} for {list(waiting)}"
        for title in [title for title, works in waiting.items() if works()]:
            del waiting[title]
            if title:
                kind = _short(title) + ("+" if len(struck) > 1 else "")
                outcome.restarts_s.setdefault(kind, []).append(time.monotonic() - struck[title][1])
        time.sleep(0.02)  # between two looks


def _short(title: str) -> str:
    return {ENV_WORKER: "worker", WRITER: "writer", HUB: "hub"}[title]


def check(run: Path, notes: Notes, *, everything: bool) -> Found:
    """Every acknowledged fragment is found once with the rows that were sent, and nothing that was not sent.

    `everything`: the run ended in good order, so nothing is unacknowledged but what dead workers had sent.
    """
    found = read_back(run)
    check_recording(found, num_envs=4)
    mine = [fragment for fragment in found.fragments if fragment[0] >= 0]
    assert len(mine) == len(set(mine)), "a fragment is there twice"
    missing = set(notes.acked) - set(mine)
    assert not missing, f"acknowledged and gone: {sorted(missing)}"
    digests = found.fragment_digests()
    for fragment in mine:
        assert fragment in notes.sent, f"{fragment} was never sent"
        assert digests[fragment] == notes.sent[fragment], f"{fragment} has other rows than were sent"
    if everything:
        last_lives = {producer: max(i for p, i, _ in notes.sent if p == producer) for producer, _, _ in notes.sent}
        left = {f for f in notes.unacknowledged if last_lives[f[0]] == f[1]}
        assert not left - set(mine), f"the run ended and these are not durable: {sorted(left)}"
    return found


def loss_s(found: Found, killed_at: float) -> float:
    """Seconds from the newest step that is there to the kill, of the producer that lost most."""
    steps = found.tables["steps"]
    workers = steps.column("worker").to_numpy()
    times = steps.column("time").cast("int64").to_numpy()
    return max(killed_at - int(times[workers == worker].max()) / 1e6 for worker in np.unique(workers))


def loss_in_steps_s(found: Found) -> float:
    """The same where producers outlived the kill: steps that their pages count and that are not there, at the pace of the
    last hundred batches."""
    steps = found.tables["steps"]
    worst = 0.0
    for (producer, incarnation), page in pages(found.run).items():
        missing = page["steps"] - found.watermarks.get((producer, incarnation), {"steps": 0})["steps"]
        mine = (steps["worker"].to_numpy() == producer) & (steps["incarnation"].to_numpy() == incarnation)
        times = np.sort(steps["time"].cast("int64").to_numpy()[mine])[-200:]
        if missing and len(times) > 20:
            worst = max(worst, missing * (times[-1] - times[0]) / 1e6 / (len(times) - 1))
    return worst


def run_program(folder: Path, seed: int, runs: int, faults_a_run: int, outcome: Outcome) -> None:
    """Several runs with faults in each; in the last everything is killed at the end, or the driver alone."""
    chance = random.Random(seed)
    program = Program(folder, runs)
    lines = 0
    try:
        for number in range(runs):
            here = folder / f"run-{number}"
            keeper = KeeperProcess(here)
            try:
                line = program.next_line(lines)
                assert line.startswith("RUN "), line
                run, lines = Path(line[4:]), lines + 1
                for _ in range(faults_a_run):
                    inject(program, run, keeper, Fault.draw(chance), outcome)
                if number + 1 == runs:
                    time.sleep(chance.uniform(0.2, 0.8))
                    wait(lambda: at_stake(run, keeper), 30, "something at stake")  # noqa: B023
                    alone = chance.random() < 0.5
                    program.kill_alone() if alone else program.kill_all()
                    time.sleep(0.2)  # the keeper reads what is in its socket
                    check(run, keeper.notes(), everything=False)
                    outcome.add("kill driver" if alone else "kill everything")
                else:
                    (here / "stop").touch()
                    line = program.next_line(lines)
                    lines += 1
                    assert line == "END completed", line
                    check(run, keeper.notes(), everything=True)
                outcome.acknowledged += len(keeper.notes().acked)
            finally:
                keeper.close()
    finally:
        program.close()


def kill_everything(folder: Path, seed: int, outcome: Outcome) -> None:
    """One run with the usual settings, then everything is killed at once, or the driver alone: what was lost."""
    chance = random.Random(seed)
    program = Program(folder, 1, usual=True)
    keeper = KeeperProcess(folder / "run-0")
    try:
        run = Path(program.next_line(0)[4:])
        wait(lambda: len(keeper.notes().acked) > 2, GOES_ON_S, "acknowledgements")
        time.sleep(chance.uniform(0.0, 1.5))
        wait(lambda: at_stake(run, keeper), 30, "something at stake")
        alone = chance.random() < 0.25
        killed_at = program.kill_alone() if alone else program.kill_all()
        time.sleep(0.2)  # as above
        found = check(run, keeper.notes(), everything=False)
        outcome.losses_s.append(loss_in_steps_s(found) if alone else loss_s(found, killed_at))
        outcome.add("kill driver" if alone else "kill everything")
        outcome.acknowledged += len(keeper.notes().acked)
    finally:
        keeper.close()
        program.close()
