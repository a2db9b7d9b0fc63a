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
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from tests.ray.processes import ENV_WORKER, HUB, WRITER, actors, go_on
from tests.ray.readback import Found, read_back
from tests.ray.rules import check_recording
from tests.ray.scripts import ROOT, family

from .keeper import KeeperProcess, Notes
from .noting import set_clock

DRIVER = "driver"
TARGETS = (ENV_WORKER, WRITER, HUB)
STARTED_S = 90.0


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
    """What was measured: seconds until something was acknowledged again, and what killing everything cost."""

    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    losses_s: list[float] = field(default_factory=list)
    trials: int = 0
    acknowledged: int = 0


class Program:
    """The driver, outside of this process; ends with everything that it started."""

    def __init__(self, folder: Path, runs: int, *, usual: bool = False) -> None:
        self.folder, self._runs = folder, runs
        folder.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
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
        wait(lambda: len(self.lines()) > known or self.process.poll() is not None, timeout_s, "the driver's next word")
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

    def close(self) -> None:
        self.kill_all()


def wait(ask, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not ask():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain for {what}"
        time.sleep(0.005)


def at_stake(run: Path, keeper: KeeperProcess) -> bool:
    """Whether a commit is in progress or something sent is not acknowledged."""
    for folder in (run / "staging").glob("w*"):
        if any(folder.iterdir()):
            return True
    return bool(keeper.notes().unacknowledged)


def inject(program: Program, run: Path, keeper: KeeperProcess, fault: Fault, outcome: Outcome) -> None:
    """Carry out one fault at a moment when something is at stake, and wait until the run goes on."""
    pid = program.process.pid
    for title in fault.targets if fault.how != "clock" else ():
        wait(lambda: actors(title, pid), 60, f"a {title}")  # noqa: B023 - one that was killed before starts again
    acked = len(keeper.notes().acked)
    wait(lambda: len(keeper.notes().acked) > acked, 60, "an acknowledgement")
    time.sleep(fault.after_s)
    wait(lambda: at_stake(run, keeper), 30, "something at stake")
    began = time.monotonic()
    stopped: list[int] = []
    struck: dict[str, int] = {}
    if fault.how == "clock":
        set_clock(run.parent.parent.parent, 3600.0 * (1 if fault.apart_s > 0.1 else -1))
    for number, title in enumerate(fault.targets if fault.how != "clock" else ()):
        time.sleep(fault.apart_s * number)
        victims = actors(title, pid)
        if not victims:
            continue  # the other of a pair has taken it along, and it starts again
        victim = victims[-1]
        try:
            os.kill(victim, signal.SIGKILL if fault.how == "kill" else signal.SIGSTOP)
        except ProcessLookupError:
            continue
        struck[title] = victim
        stopped += [victim] if fault.how == "stop" else []
    if stopped:
        time.sleep(fault.for_s)
        for victim in stopped:
            go_on(victim)
    hit = time.monotonic()
    before = keeper.notes()
    lives = {ack[:2] for ack in before.acked}
    needs_new_life = fault.how == "kill" and ENV_WORKER in struck

    def goes_on() -> bool:
        fresh = keeper.notes().acked[len(before.acked) :]
        return any(ack[:2] not in lives for ack in fresh) if needs_new_life else bool(fresh)

    wait(goes_on, 60, f"an acknowledgement after {fault}")
    if fault.how == "kill":
        for title, victim in struck.items():
            wait(lambda: set(actors(title, pid)) - {victim}, 60, f"another {title}")  # noqa: B023
        outcome.recoveries_s.setdefault("+".join(fault.targets), []).append(time.monotonic() - began)
    assert hit >= began
    assert struck or fault.how == "clock", "nobody was hit"
    outcome.trials += 1


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
    """Seconds of steps that are missing, of the producer that lost most."""
    steps = found.tables["steps"]
    workers = steps.column("worker").to_numpy()
    times = steps.column("time").cast("int64").to_numpy()
    return max(killed_at - int(times[workers == worker].max()) / 1e6 for worker in np.unique(workers))


def run_program(folder: Path, seed: int, runs: int, faults_a_run: int, outcome: Outcome) -> None:
    """Several runs with faults in each; in the last everything is killed at the end."""
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
                    program.kill_all()
                    time.sleep(0.2)  # the keeper reads what is in its socket
                    check(run, keeper.notes(), everything=False)
                    outcome.trials += 1
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
    """One run with the usual settings, everything killed at once: what was lost, in seconds."""
    chance = random.Random(seed)
    program = Program(folder, 1, usual=True)
    keeper = KeeperProcess(folder / "run-0")
    try:
        run = Path(program.next_line(0)[4:])
        wait(lambda: len(keeper.notes().acked) > 2, 60, "acknowledgements")
        time.sleep(chance.uniform(0.0, 1.5))
        wait(lambda: at_stake(run, keeper), 30, "something at stake")
        killed_at = program.kill_all()
        time.sleep(0.2)  # as above
        found = check(run, keeper.notes(), everything=False)
        outcome.losses_s.append(loss_s(found, killed_at))
        outcome.trials += 1
        outcome.acknowledged += len(keeper.notes().acked)
    finally:
        keeper.close()
        program.close()
