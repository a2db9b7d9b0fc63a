"""Which size is taken, what its evidence says, and that the preset is read back as it was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.tuning import (
    Sizes,
    Tried,
    Tuned,
    bare_environments,
    best_round,
    candidates,
    chosen,
    step_bare,
    tried_of,
)
from rolltape.schema.config_presets import choose_preset, user_presets
from rolltape.schema.errors import ConfigError, LakeNotWritable
from rolltape.storage.preset_file import preset_name, preset_text, write_preset
from tests.command_line import exit_code

MIB = 1 << 20
NOW = Tried(Sizes(32 * MIB, 128 * MIB), 10_000, 1000.0, 5.0, 5.0, 2, 0.1, 0.3, 0.0, 16.0, 200)


def other(cost_us: float, fragment: int = 8 * MIB, **values: Any) -> Tried:
    return replace(NOW, sizes=Sizes(fragment, 128 * MIB), worker_us=cost_us - 1, writer_us=1.0, **values)


@pytest.mark.parametrize(
    ("others", "fragment"),
    [
        ([other(9.9)], 32 * MIB),  # less than 5 % is noise
        ([other(9.0)], 8 * MIB),
        ([other(5.0, waited=0.2)], 32 * MIB),
        ([other(5.0, flush_s=3.0)], 32 * MIB),
        ([other(9.0), other(8.0, 4 * MIB)], 4 * MIB),
        ([], 32 * MIB),
    ],
)
def test_what_is_taken(others: list[Tried], fragment: int) -> None:
    assert chosen([NOW, *others]).sizes.fragment == fragment


def test_what_is_configured_may_be_ill() -> None:
    ill = replace(NOW, waited=0.5)
    assert chosen([ill, other(11.0)]).sizes.fragment == 8 * MIB, "it costs more, and nobody waits"
    assert chosen([ill, other(1.0, waited=0.9)]) is ill, "nothing is better"


def test_candidates_begin_with_what_is_configured() -> None:
    found = candidates(Sizes(8 * MIB, 128 * MIB))
    assert found[0] == Sizes(8 * MIB, 128 * MIB) and len(set(found)) == len(found) == 6
    assert len(candidates(Sizes(1 * MIB, 16 * MIB))) == 7
    assert all(sizes.fragment <= sizes.commit for sizes in found)


def test_the_best_round_has_the_worst_latency() -> None:
    rounds = [replace(NOW, worker_us=9.0, flush_high_s=0.2), replace(NOW, queue_depth=7, flush_high_s=0.9)]
    best = best_round([rounds[1], replace(rounds[0], worker_us=3.0)])
    assert (best.worker_us, best.queue_depth, best.flush_high_s) == (3.0, 7, 0.9)


def sample(source: str, time: int, steps: int, cpu_s: float, **values: Any) -> dict[str, Any]:
    row = {"source": source, "time": time, "steps": steps, "cpu_s": cpu_s, "flush_s": 0.1, "queue_depth": 1}
    return row | {"memory_bytes": 50 * MIB} | values


def test_what_samples_say() -> None:
    rows = [sample("producer", 0, 0, 1.0)]  # before its first step: it was still being made
    rows += [sample("producer", k, 1000 * k, 2.0 + 0.01 * k, queue_depth=k) for k in (1, 2, 4, 3)]
    rows += [sample("writer", k, 1000 * k, 3.0 + 0.002 * k, flush_s=k / 10) for k in (1, 2, 3)]
    rows += [sample("hub", 1, 9, 9.0)]
    found = tried_of(NOW.sizes, rows, 5_000, 2.0, 0.5, 16.0)
    assert found == Tried(NOW.sizes, 5_000, 2_500.0, pytest.approx(10.0), pytest.approx(2.0), 4, 0.2, 0.3, 0.25, 16.0, 50)
    with pytest.raises(ConfigError, match="over after 2 samples of its worker and 2 of its writer, 3 of each"):
        tried_of(NOW.sizes, [row for row in rows if row["time"] < 3], 5_000, 2.0, 0.5, 16.0)


def test_a_preset_is_read_back(tmp_path: Path) -> None:
    tuned = Tuned("ALE/Breakout-v5", 8, 2.0, 9e4, (NOW, other(8.0)), other(8.0))
    name = preset_name(tuned.env_id)
    assert name == "tuned-ale-breakout-v5"
    head = {"name": name, "matches": [tuned.env_id], "why": tuned.why, "host": "here"}
    text = preset_text(head, tuned.settings(), {"measured": "today", "tried": list(tuned.rows())})
    write_preset(tmp_path / "presets", name, "old")
    path = write_preset(tmp_path / "presets", name, text)
    (found,) = user_presets(tmp_path / "presets")
    assert (found.name, found.matches, found.host, found.place) == (name, ("ALE/Breakout-v5",), "here", str(path))
    assert found.why.startswith("8 us of processor time a step against 10 with what was configured")
    assert {key: given.value for key, given in found.layer().values.items()} == {
        "durable.fragment.max_bytes": 8 * MIB,
        "durable.commit.max_bytes": 128 * MIB,
    }
    assert [row["worker_us"] for row in found.evidence["tried"]] == [5.0, 7.0]
    assert choose_preset("auto", "ALE/Breakout-v5", [found], "here", "") is found
    assert choose_preset("auto", "ALE/Breakout-v5", [found], "elsewhere", "") is None
    assert list((tmp_path / "presets").iterdir()) == [path]


def test_nothing_better_is_evidence_too() -> None:
    tuned = Tuned("X-v0", 8, 2.0, 9e4, (NOW, other(9.9)), NOW)
    assert tuned.settings() == {} and "no other size saved 5%" in tuned.why


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=8), st.integers(-(2**60), 2**60) | st.text(max_size=9)))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, why: str, evidence: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("presets")
    text = preset_text({"name": "x", "matches": [why], "why": why}, {}, evidence)
    write_preset(folder, "x", text)
    (found,) = user_presets(folder)
    assert (found.why, found.matches, dict(found.evidence)) == (why, (why,), evidence)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LakeNotWritable, match=r"The preset .* cannot be written"):
        write_preset(tmp_path / "file" / "presets", "x", "")


def test_stepping_alone_costs_something() -> None:
    cost_us, rate = step_bare(bare_environments("CartPole-v1", {}, 4), 0.05)
    assert 0 < cost_us < 1e4 and rate > 100


def test_an_unknown_environment_is_refused_before_anything_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code("tune", "CartPol-v1") == 1
    err = capsys.readouterr().err
    assert err.startswith("rolltape: No environment 'CartPol-v1'") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())
