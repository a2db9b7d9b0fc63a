"""`rolltape tune` on this machine: what is measured is kept, and a recording takes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rolltape.actors import tuning
from rolltape.schema.config_base import MIB
from rolltape.scripts.cli import main
from rolltape.storage.configuration import configured

pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.long]


def test_a_preset_that_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tuning, "FRAGMENTS", (4 * MIB,))
    monkeypatch.setattr(tuning, "COMMITS", (32 * MIB,))
    with pytest.raises(SystemExit) as ended:
        main(["tune", "CartPole-v1", "--envs", "4", "--seconds", "5", "--rounds", "1"])
    out = capfd.readouterr().out
    assert not ended.value.code and "without recording: " in out, out
    found = configured(env_id="CartPole-v1", folder=tmp_path, environ={})
    evidence = found.evidence["preset"]
    assert (evidence["name"], evidence["num_envs"], len(evidence["tried"])) == ("tuned-cartpole-v1", 4, 2)
    for row in evidence["tried"]:
        assert row["worker_us"] > evidence["bare_us"] / 5 and row["flush_s"] > 0 and row["bytes_per_step"] > 5
    assert not list(tmp_path.glob(".rolltape-tune-*")), "recordings are thrown away"
