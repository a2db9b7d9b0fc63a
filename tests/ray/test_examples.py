"""Training scripts of others, unmodified but for one line, run and recorded."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import rolltape
from rolltape.actors.external_run import run_program
from rolltape.storage.configuration import configured_by

pytestmark = pytest.mark.usefixtures("ray_session")
EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def trained(lake: Path, script: str, *arguments: str) -> tuple[rolltape.Run, str]:
    out = []
    settings = configured_by("tests", None, None, lake=lake, frames=None, commit={"max_age_s": 0.2})
    ended = run_program(
        [sys.executable, str(EXAMPLES / script), *arguments],
        settings,
        folder=lake.parent,
        show=lambda output: out.append(output.stdout + output.stderr),
    )
    text = b"".join(out).decode()
    assert ended.exit_code == 0, text
    return rolltape.open(lake).run(ended.run_id), text


def lines_of(script: str) -> list[str]:
    return [line for line in (EXAMPLES / script).read_text().splitlines() if "rt." in line]


@pytest.mark.long
def test_ppo_in_the_manner_of_cleanrl(lake: Path) -> None:
    run, out = trained(lake, "ppo_cartpole.py", "--total-timesteps", "10240")
    assert len(lines_of("ppo_cartpole.py")) == 2, "one line of code, and one that tells of it"
    assert run.status == "completed" and run.env_id == "CartPole-v1"
    resets = len(run.episodes("status = 'completed'"))
    assert 10_240 - resets <= len(run.steps()) <= 10_240, "a step that only resets is none"
    returns = run.episodes("status = 'completed'").order("end_time").numpy()["return"]
    assert np.mean(returns[-20:]) > 3 * np.mean(returns[:20]), "it has learnt, and the recording shows it"
    assert run.logs("message LIKE 'update%'").to_dicts()[-1]["message"] == out.splitlines()[-1]


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("stable_baselines3") is None, reason="needs stable-baselines3 and torch")
def test_stable_baselines3(lake: Path) -> None:
    assert len(lines_of("sb3_cartpole.py")) == 1
    run, _ = trained(lake, "sb3_cartpole.py", "4096")
    assert run.status == "completed" and len(run.steps()) == 4_096
    assert len(np.unique(run.steps().numpy()["sub_env"])) == 4
