"""What adapters tell is recorded: a description, the state where it is asked for, and payloads of any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rolltape
from rolltape.actors.stepping import EnvRecipe, make_env
from rolltape.schema.adapters.registry import adapter_of
from rolltape.schema.errors import AdapterError, ConfigError, LakeNotFound
from rolltape.schema.render_payload import RgbPayload
from rolltape.storage.episodes import Episode
from rolltape.storage.lake import open_lake
from rolltape.storage.runs import Run
from tests.courier import Courier, CourierAdapter
from tests.sameness import assert_same

pytestmark = pytest.mark.usefixtures("ray_session")


def fleet(env: str, lake: Path, episodes: int = 3, **settings: Any) -> Run:
    with rolltape.Fleet(env, num_envs=2, num_workers=1, lake=lake, seed=3, **settings) as made:
        made.collect(episodes=episodes, progress=False)
    return rolltape.open(lake).run(made.run_id)


def completed(run: Run) -> list[Episode]:
    rows = run.episodes("status = 'completed'").to_dicts()
    assert rows
    return [run.episode(row["episode"]) for row in rows]


def alone(env_id: str, episode: Episode, **kwargs: Any) -> Any:
    """(state, payload) before each step and after the last, of an environment that is stepped beside."""
    env = make_env(EnvRecipe(env_id, kwargs))
    adapter = adapter_of(env)
    env.reset(seed=episode.seed)
    yield adapter.state(env), adapter.render_payload(env)
    for action in episode.actions:
        env.step(action)
        yield adapter.state(env), adapter.render_payload(env)
    env.close()


def plain(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in state.items()}


@pytest.mark.parametrize(
    ("env_id", "autoreset"),
    [("FrozenLake-v1", "same_step"), ("FrozenLake-v1", "disabled"), ("MiniGrid-DoorKey-5x5-v0", "next_step")],
)
def test_state_of_every_step_is_recorded_compared_and_shown(env_id: str, autoreset: Any, tmp_path: Path) -> None:
    if env_id.startswith("MiniGrid"):
        pytest.importorskip("minigrid")
    kwargs = {"max_steps": 12} if env_id.startswith("MiniGrid") else None
    run = fleet(env_id, tmp_path, autoreset=autoreset, adapter={"state": True}, env_kwargs=kwargs)
    assert run.info["adapter"]["space"]["state"].keys() >= {"row", "column"}
    for episode in completed(run):
        for t, (state, payload) in enumerate(alone(env_id, episode, **(kwargs or {}))):
            assert plain(episode.state(t)) == plain(state)
            assert episode.render_payload(t) == payload
    assert rolltape.replay(run).exact


def test_without_state_a_payload_comes_by_replay(tmp_path: Path) -> None:
    run = fleet("Taxi-v4", tmp_path, episodes=1)
    episode = completed(run)[0]
    assert episode.state(0) == {}
    expected = list(alone("Taxi-v4", episode))
    for t in (0, 1, 17, episode.length, 3):
        assert run.render_payload(episode.episode, t) == expected[t][1]
    with pytest.raises(LakeNotFound, match=f"t from 0 to {episode.length}"):
        episode.render_payload(episode.length + 1)
    with pytest.raises(LakeNotFound, match=r"open the lake with rolltape\.open"):
        open_lake(tmp_path).render_payload(run, episode.episode, 0)


def test_rgb_names_the_frame_that_is_kept(tmp_path: Path) -> None:
    run = fleet("CartPole-v1", tmp_path, frames={"policy": "render", "every": 4}, vectorization="sync")
    episode = completed(run)[0]
    payload = episode.render_payload(6)
    assert payload == RgbPayload(frame="render", run_id=run.run_id, episode=episode.episode, t=4)
    assert run.frame(episode.episode, 4, kind="render").shape == (400, 600, 3)
    last = episode.render_payload(episode.length)
    assert isinstance(last, RgbPayload)
    assert last.t == episode.length


def test_some_keys_of_the_memory_of_a_console(tmp_path: Path) -> None:
    pytest.importorskip("ale_py")
    with rolltape.Fleet(
        "ALE/Breakout-v5", num_envs=1, lake=tmp_path, adapter={"state": True, "keys": ["ram", "lives"]}
    ) as made:
        made.collect(steps=20, progress=False)
    run = rolltape.open(tmp_path).run(made.run_id)
    columns = str(run.steps().to_arrow().schema.field("info").type)
    assert "state.ram: fixed_size_list<element: uint8>[128]" in columns.replace("item:", "element:")
    assert "state.lives: int64" in columns
    assert "episode_frame:" not in columns
    assert rolltape.replay(run).exact


def test_a_loop_sees_nothing_of_it(tmp_path: Path) -> None:
    env = rolltape.record(gym.make("FrozenLake-v1"), tmp_path, adapter={"state": True})
    seen = [env.reset(seed=5)[1]]
    done = False
    while not done:
        *_, terminated, truncated, info = env.step(1)
        seen.append(info)
        done = terminated or truncated
    env.close()
    assert all(info.keys() == {"prob"} for info in seen)
    run = rolltape.open(tmp_path).run(env.run_id)
    (episode,) = completed(run)
    assert [plain(s) for s, _ in alone("FrozenLake-v1", episode)] == [episode.state(t) for t in range(len(seen))]
    assert rolltape.replay(run).exact


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, pytest.param(AutoresetMode.DISABLED, marks=pytest.mark.long)])
def test_of_a_vector_environment_of_the_users(tmp_path: Path, mode: AutoresetMode) -> None:
    base = SyncVectorEnv([lambda: gym.make("FrozenLake-v1", max_episode_steps=9)] * 2, autoreset_mode=mode)
    env = rolltape.record(base, tmp_path, adapter={"state": True})
    env.action_space.seed(3)
    env.reset(seed=5)
    at: list[list[tuple[int, int]]] = [[], []]
    for _ in range(30):
        *_, terminated, truncated, infos = env.step(env.action_space.sample())
        assert infos.keys() <= {"prob", "_prob"}, "a loop sees nothing of it"
        for place, inner in enumerate(base.envs):
            at[place].append(divmod(int(inner.unwrapped.s), 4))  # type: ignore[attr-defined]
        if mode == AutoresetMode.DISABLED and (done := terminated | truncated).any():
            env.reset(options={"reset_mask": done})
    env.close()
    run = rolltape.open(tmp_path).run(env.run_id)
    report = rolltape.replay(run)
    assert set(report.counts) == {"exact"} and report.steps == len(run.steps()), report.divergence
    walks: list[list[tuple[int, int]]] = [[], []]
    for row in run.episodes().order("sub_env", "episode").to_dicts():
        states = [run.episode(row["episode"]).state(t) for t in range(row["length"] + 1)]
        walked = [(state["row"], state["column"]) for state in states]
        assert walked[0] == (0, 0)
        walks[row["sub_env"]] += walked if mode == AutoresetMode.NEXT_STEP and walks[row["sub_env"]] else walked[1:]
    assert walks == at


def test_what_cannot_be_had_is_refused_before_anything_starts(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    with pytest.raises(ConfigError, match=r"adapter\.state: a native CartPole-v1 has no single environments"):
        rolltape.Fleet("CartPole-v1", lake=lake, adapter={"state": True}, vectorization="native")
    with pytest.raises(ConfigError, match=r"adapter\.keys: 'taxi' has no 'wheels'; there are row, column"):
        rolltape.Fleet("Taxi-v4", lake=lake, adapter={"state": True, "keys": ["wheels"]})
    with pytest.raises(AdapterError, match=r"there is no 'taxy'. Did you mean 'taxi'\?"):
        rolltape.Fleet("Taxi-v4", lake=lake, adapter="taxy")
    native = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point")
    with pytest.raises(ConfigError, match=r"not from native ones or other processes"):
        rolltape.record(native, lake, adapter={"state": True})
    taxis = SyncVectorEnv([lambda: gym.make("Taxi-v4")], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(ConfigError, match=r"before their last state can be read\. Use AutoresetMode\.NEXT_STEP"):
        rolltape.record(taxis, lake, adapter={"state": True})
    with pytest.raises(ConfigError, match=r"adapter\.keys: 'taxi' has no 'wheels'"):
        later = SyncVectorEnv([lambda: gym.make("Taxi-v4")])
        rolltape.record(later, lake, adapter={"state": True, "keys": ["wheels"]})
    assert not lake.exists()


def test_a_graph_environment_from_loop_to_picture(tmp_path: Path) -> None:
    bare = Courier()
    adapter = CourierAdapter(bare)
    env = rolltape.record(bare, tmp_path, adapter="tests.courier:CourierAdapter")
    seen: list[Any] = []
    for seed in range(4):
        seen.append([(env.reset(seed=seed)[0], adapter.render_payload(bare))])
        done = False
        while not done:
            observation, _, done, _, _ = env.step(len(seen[-1]) % 3)
            seen[-1].append((observation, adapter.render_payload(bare)))
    env.close()
    run = rolltape.open(tmp_path, make="tests.courier:make_courier").run(env.run_id)
    assert run.info["adapter"]["render"]["kinds"] == {"graph": 1}
    assert rolltape.replay(run, make="tests.courier:make_courier").exact
    for number, walk in enumerate(seen):
        episode = run.episode(number)
        for (was, payload), read, t in zip(walk, episode.observations, range(len(walk)), strict=True):
            assert_same(was, read)
            assert episode.render_payload(t) == payload
