"""Whether a busy processor slows the one beside it, as the two threads of one core do.

A recorder works beside the loop that steps, so on such a machine it costs the loop something even where it never makes
it wait. Clouds move machines between cores: the answer may be another one a minute later.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median
from typing import Final

ROUNDS: Final = 5
LOOP_S: Final = 0.06
_BUSY: Final = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"


def speed_beside() -> float | None:
    """Speed of a Python loop on one processor while another one is busy, divided by its speed alone: 1.0 where both are
    cores of their own, about 0.6 where they are two threads of one. None where there is only one, or where the system
    does not let a process choose (only Linux does)."""
    if not hasattr(os, "sched_setaffinity") or len(own := sorted(os.sched_getaffinity(0))) < 2:
        return None
    here, there = own[0], own[1]
    os.sched_setaffinity(0, {here})
    try:
        _rate()
        return median(_beside(there) / _rate() for _ in range(ROUNDS))
    finally:
        os.sched_setaffinity(0, own)


def _beside(processor: int) -> float:
    with subprocess.Popen([sys.executable, "-S", "-c", _BUSY, str(processor)], stdout=subprocess.PIPE) as busy:
        try:
            assert busy.stdout is not None
            busy.stdout.readline()
            return _rate()
        finally:
            busy.kill()


def _rate() -> float:
    """Rounds of arithmetic a second of processor time."""
    began, done, value = time.thread_time(), 0, 1
    while (passed := time.thread_time() - began) < LOOP_S:
        for number in range(1_000):
            value = (value * 31 + number) % 65_521
        done += 1
    return done / passed
