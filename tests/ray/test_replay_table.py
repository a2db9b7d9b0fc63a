"""Every cell of the table of what replays how is recorded, and what was recorded replays as the table says."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rolltape
from rolltape.actors.batch_layout import MISSING
from rolltape.actors.replay import STEPLESS
from rolltape.actors.replay_table import Source, cells
from rolltape.schema.errors import ConfigError
from rolltape.storage.runs import Run

from .environments import Allotment, Garden
from .loops import async_vector
from .rewriting import change, drop

pytestmark = pytest.mark.usefixtures("ray_session")

SEED = 11
KINDS = {
    AutoresetMode.NEXT_STEP: "next_step",
    AutoresetMode.SAME_STEP: "same_step",
    AutoresetMode.DISABLED: "disabled",
}
MODE = {name: mode for mode, name in KINDS.items()}


def short_cartpole() -> gym.Env[Any, Any]:
    return gym.make("CartPole-v1", max_episode_steps=15)


def slippery() -> gym.Env[Any, Any]:
    return gym.make("FrozenLake-v1", is_slippery=True, max_episode_steps=20)


def garden() -> gym.Env[Any, Any]:
    return Garden()


def fleet(env: Any, lake: Path, steps: int, **kwargs: Any) -> Run:
    with rolltape.Fleet(env, 3, lake, seed=SEED, **kwargs) as running:
        return running.collect(steps=steps, progress=False)


def single(env: gym.Env[Any, Any], lake: Path, steps: int, seeds: Callable[[int], int | None]) -> Run:
    recorded = rolltape.record(env, lake)
    recorded.action_space.seed(SEED)
    recorded.reset(seed=seeds(0))
    episodes = 1
    for _ in range(steps):
        _, _, terminated, truncated, _ = recorded.step(recorded.action_space.sample())
        if terminated or truncated:
            recorded.reset(seed=seeds(episodes))
            episodes += 1
    recorded.close()
    return rolltape.open(lake).run(recorded.run_id)


def vector(env: Any, lake: Path, steps: int, seed: int | None) -> Run:
    disabled = env.metadata["autoreset_mode"] == AutoresetMode.DISABLED
    recorded = rolltape.record(env, lake)
    recorded.action_space.seed(SEED)
    recorded.reset(seed=seed)
    for _ in range(steps):
        _, _, terminated, truncated, _ = recorded.step(recorded.action_space.sample())
        if disabled and (done := terminated | truncated).any():
            recorded.reset(options={"reset_mask": done})
    recorded.close()
    return rolltape.open(lake).run(recorded.run_id)


def record_cell(source: Source, mode: str | None, make: Callable[[], Any], lake: Path) -> Run:
    """A short run of that kind, of the environment that `make` makes."""
    seed = None if "never" in source.name else SEED
    where = source.name.partition(",")[0]
    if where == "Fleet":
        native = "native" in source.name
        env: Any = "CartPole-v1" if native else f"{make.__module__}:{make.__qualname__}"
        vectorization = "native" if native else "sync"
        return fleet(env, lake, 200, vectorization=vectorization, autoreset=mode, num_workers=1)
    if where == "record(Env)":
        each = "each" in source.name
        return single(make(), lake, 160, lambda k: seed if k == 0 else SEED + k if each else None)
    if where == "record(native)" and mode != "next_step":
        return vector(Allotment(mode=str(mode)), lake, 60, seed)
    if where == "record(native)":
        return vector(gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point"), lake, 60, seed)
    kind: Any = SyncVectorEnv if "Sync" in where else async_vector
    return vector(kind([make] * 2, autoreset_mode=MODE[str(mode)]), lake, 50, seed)


def check_cell(source: Source, run: Run, make: Any = None) -> None:
    """Every episode says that it replays as the table has it, and does."""
    rows = run.episodes().select("episode", "seed_episode", "replay").to_dicts()
    assert len(rows) > 5
    for row in rows:
        own = row["episode"] == row["seed_episode"]
        assert row["replay"] == (source.first if own else source.later), row
    assert any(row["episode"] != row["seed_episode"] for row in rows) == (source.later != "alone")
    report = rolltape.replay(run, make=make)
    assert len(report) == len(rows)
    if source.first == "none":
        assert report.counts == {"not replayable": len(rows)}
        assert [reason.partition(":")[0] for reason in report.reasons] == ["never seeded"]
        assert not report.exact
    else:
        assert report.exact, report.divergence
        assert report.counts == {"exact": len(rows)}
        assert report.steps == len(run.steps())


def name_of(value: Any) -> str:
    return value.name if isinstance(value, Source) else str(getattr(value, "__name__", value))


@pytest.mark.parametrize(("source", "mode"), [c for c in cells() if "in between" not in c[0].name], ids=name_of)
def test_cell(source: Source, mode: str | None, lake: Path) -> None:
    own = source.name.startswith("record(native)") and mode != "next_step"  # no id of Gymnasium's
    check_cell(source, record_cell(source, mode, slippery, lake), (lambda: Allotment(mode=str(mode))) if own else None)


def with_other_environments() -> Iterator[Any]:
    """Cells with both environments; `make test` takes them in turn, so that each source, mode and environment is there."""
    alone = [c for c in cells() if c[0].first == "alone" and "Async" not in c[0].name]
    for number, (source, mode) in enumerate(alone):
        for turn, make in enumerate((garden, short_cartpole)):
            yield pytest.param(source, mode, make, marks=[pytest.mark.long] if (number + turn) % 2 else [])


@pytest.mark.parametrize(("source", "mode", "make"), list(with_other_environments()), ids=name_of)
def test_cell_with_other_environments(
    source: Source, mode: str | None, make: Any, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record_cell(source, mode, make, lake)
    monkeypatch.setattr("rolltape.actors.replay.CarefulPass", None)  # the swift pass says it, nested spaces too
    check_cell(source, run, make if make is garden else None)  # Gymnasium does not know how it was made


@pytest.mark.parametrize(
    ("env", "kwargs", "steps", "package"),
    [
        ("Taxi-v4", {}, 300, ""),
        ("LunarLander-v3", {}, 250, "Box2D"),
        ("MiniGrid-Empty-5x5-v0", {"max_steps": 30}, 120, "minigrid"),
        ("ALE/Breakout-v5", {"frameskip": 30, "repeat_action_probability": 0.25}, 150, "ale_py"),
        ("CarRacing-v3", {}, 24, "Box2D"),
        ("tests.courier:make_courier", {}, 200, ""),
    ],
)
def test_environments_of_many_kinds(env: str, kwargs: dict[str, Any], steps: int, package: str, lake: Path) -> None:
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    run = fleet(env, lake, steps, env_kwargs=kwargs, autoreset="same_step", num_workers=1)
    report = rolltape.replay(run)
    assert report.exact, report.divergence
    assert set(report.counts) == {"exact"}
    assert report.steps == len(run.steps())


@pytest.mark.parametrize("mode", ["SameStep", pytest.param("NextStep", marks=pytest.mark.long)])
def test_a_native_environment_of_pictures_replays_with_them(mode: str, lake: Path) -> None:
    ale_py = pytest.importorskip("ale_py")
    gym.register_envs(ale_py)
    short: dict[str, Any] = {"frameskip": 8, "noop_max": 3, "max_num_frames_per_episode": 100, "autoreset_mode": mode}
    env = gym.make_vec("ALE/Breakout-v5", num_envs=2, vectorization_mode="vector_entry_point", **short)
    run = vector(env, lake, 40, SEED)
    report = rolltape.replay(run)
    assert report.counts == {"exact": len(run.episodes())}, report.divergence
    assert report.steps == len(run.steps())
    row = run.episodes("sub_env = 1 and status = 'completed'").order("episode").to_dicts()[1]
    episode, t = row["episode"], row["length"]
    change(lake, "frames", "data", {"episode": episode, "t": t}, lambda was: bytes([was[0] ^ 3]) + was[1:])
    found = rolltape.replay(rolltape.open(lake).run(), episode).divergence
    assert found is not None and found.divergence is not None
    assert (found.divergence.t, found.divergence.field, found.divergence.magnitude) == (t, "observation", 3)


@pytest.mark.parametrize("mode", ["same_step", "disabled"])
def test_a_native_environment_has_one_mode(mode: Any, lake: Path) -> None:
    with pytest.raises(ConfigError, match="next_step"):
        fleet("CartPole-v1", lake, 10, vectorization="native", autoreset=mode, num_workers=1)


def reset_in_between(env: Any, lake: Path) -> Run:
    """A native environment, in any mode, that is reset in the middle in every way."""
    disabled = env.metadata["autoreset_mode"] == AutoresetMode.DISABLED
    recorded = rolltape.record(env, lake)
    recorded.action_space.seed(SEED)
    some = np.array([True, False, True])
    ways: list[dict[str, Any]] = [
        {},  # never seeded
        {"seed": SEED, "options": {"longer": 2}},
        {},
        {"options": {"reset_mask": some}},
        {"seed": SEED},
        {"seed": SEED + 1},
        {"options": {"reset_mask": ~some, "longer": 1}},
    ]
    for turn, way in enumerate(ways):
        recorded.reset(**way)
        if turn == 4:  # once more at once: episodes of no steps
            recorded.reset()
        for _ in range(11):
            _, _, terminated, truncated, _ = recorded.step(recorded.action_space.sample())
            if disabled and (done := terminated | truncated).any():
                recorded.reset(options={"reset_mask": done})
    recorded.close()
    return rolltape.open(lake).run(recorded.run_id)


@pytest.mark.parametrize("mode", [mode for source, mode in cells() if "in between" in source.name])
def test_a_batch_that_is_reset_in_between(mode: str, lake: Path) -> None:
    run = reset_in_between(Allotment(mode=mode), lake)
    report = rolltape.replay(run, make=lambda: Allotment(mode=mode))
    never = len(run.episodes("replay = 'none'"))
    assert never >= 3
    assert report.counts == {"exact": len(run.episodes()) - never, "not replayable": never}, report.divergence
    assert [reason.partition(":")[0] for reason in report.reasons] == ["never seeded"]
    last = run.episodes("sub_env = 1 and length > 2").order("episode").to_dicts()[-1]["episode"]
    change(lake, "steps", "reward", {"episode": last, "t": 2}, lambda was: was + 1)
    found = rolltape.replay(rolltape.open(lake).run(), last, make=lambda: Allotment(mode=mode)).divergence
    assert found is not None and found.divergence is not None
    assert (found.episode, found.divergence.t, found.divergence.field) == (last, 2, "reward")


def test_a_batch_that_lacks_rows(lake: Path, tmp_path: Path) -> None:
    """A killed producer leaves sub-environments without an episode that ended, a damaged part leaves holes."""
    env = gym.make_vec("CartPole-v1", num_envs=3, vectorization_mode="vector_entry_point")
    vector(env, lake, 60, SEED)
    for place in (0, 2):
        copied = Path(shutil.copytree(lake, tmp_path / f"without {place}"))
        drop(copied, "episodes", lambda rows, place=place: rows["sub_env"].to_numpy() == place)
        run = rolltape.open(copied).run()
        assert rolltape.replay(run).counts == {"exact": len(run.episodes())}
    drop(lake, "steps", lambda rows: (rows["episode"].to_numpy() == 1) & (rows["t"].to_numpy() > 8))
    report = rolltape.replay(rolltape.open(lake).run())
    assert (set(report.counts), set(report.reasons)) == ({"not replayable"}, {MISSING})


def test_a_batch_that_was_never_stepped(lake: Path) -> None:
    env = rolltape.record(gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point"), lake)
    env.reset(seed=3)
    env.reset(seed=4)
    env.close()
    report = rolltape.replay(rolltape.open(lake).run(env.run_id))
    assert (report.counts, set(report.reasons)) == ({"not replayable": 4}, {STEPLESS})


def test_a_batch_that_is_reset_where_all_episodes_ended(lake: Path) -> None:
    """Nothing in the recording says whether the caller reset or the environment did."""
    env = rolltape.record(gym.make_vec("CartPole-v1", num_envs=1, vectorization_mode="vector_entry_point"), lake)
    env.reset(seed=3)
    for _ in range(60):
        _, _, terminated, truncated, _ = env.step(np.array([1]))
        if (terminated | truncated).all():
            env.reset()
    env.close()
    run = rolltape.open(lake).run(env.run_id)
    assert rolltape.replay(run).counts == {"exact": len(run.episodes())}


def test_a_batch_of_digests(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are not stored: no recorder of today makes such a batch, because none of its pictures can be drawn."""
    ale_py = pytest.importorskip("ale_py")
    gym.register_envs(ale_py)
    monkeypatch.setattr("rolltape.actors.recorded_env.check_drawable", lambda *_, **__: None)
    short: dict[str, Any] = {"frameskip": 8, "noop_max": 3, "max_num_frames_per_episode": 100}
    env = gym.make_vec("ALE/Breakout-v5", num_envs=2, vectorization_mode="vector_entry_point", **short)
    recorded = rolltape.record(env, lake, frames="replay")
    recorded.action_space.seed(SEED)
    for way in ({"seed": SEED}, {"options": {"reset_mask": np.array([False, True])}}):
        recorded.reset(**way)
        for _ in range(9):
            recorded.step(recorded.action_space.sample())
    recorded.close()
    run = rolltape.open(lake).run(recorded.run_id)
    assert "observation_digest" in run.steps().columns
    report = rolltape.replay(run)
    assert report.counts == {"exact": len(run.episodes())}, report.divergence
    row = run.episodes("sub_env = 1 and status = 'completed'").to_dicts() or run.episodes("sub_env = 1").to_dicts()
    change(lake, "steps", "observation_digest", {"episode": row[0]["episode"], "t": 3}, lambda was: was ^ 1)
    found = rolltape.replay(rolltape.open(lake).run(), row[0]["episode"]).divergence
    assert found is not None and found.divergence is not None
    assert (found.divergence.t, found.divergence.field) == (3, "observation")


def test_jobs_on_ray_give_the_same_verdicts(lake: Path) -> None:
    run = fleet(f"{__name__}:slippery", lake, 300, vectorization="sync", num_workers=1)
    seen: list[tuple[int, int]] = []
    apart = rolltape.replay(run, workers=2, progress=lambda done, wanted: seen.append((done, wanted)))
    together = rolltape.replay(run)
    assert sorted(apart, key=lambda r: r.episode) == sorted(together, key=lambda r: r.episode)
    assert len(seen) > 1
    assert seen[-1] == (len(together), len(together))
