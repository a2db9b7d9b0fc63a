"""frames="replay": no picture is stored, and every one is there; films of any range and speed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import rolltape
from rolltape.actors import rerender
from rolltape.schema.errors import ConfigError, LakeNotFound, MissingExtra, ReplayFailed
from rolltape.schema.picture_digest import picture_digest
from rolltape.scripts.cli import main
from rolltape.storage import film

from .test_replay_divergence import an_episode, change

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(scope="module")
def cartpole(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with one run of 40,000 steps in one part a table."""
    lake = tmp_path_factory.mktemp("drawn") / "lake"
    slow: dict[str, Any] = {"fragment": {"max_age_s": 20}, "commit": {"max_age_s": 25}}
    with rolltape.Fleet("CartPole-v1", 4, lake, num_workers=1, frames="replay", seed=4, **slow) as fleet:
        fleet.collect(steps=40_000, progress=False)
    return lake


def plain_pictures(run: Any, episode: int) -> list[np.ndarray]:
    """What CartPole draws for the recorded seed and actions."""
    recorded = run.episode(episode)
    env = gym.make("CartPole-v1", render_mode="rgb_array")
    env.reset(seed=recorded.seed)
    drawn: list[Any] = [env.render()]
    for action in recorded.actions:
        env.step(action)
        drawn.append(env.render())
    env.close()
    return drawn


def test_a_step_costs_twenty_bytes_and_every_picture_is_there(cartpole: Path) -> None:
    run = rolltape.open(cartpole).run()
    assert run.info["env"]["vectorization"] == "sync"
    assert run.parts("frames") == []
    size = sum(part.stat().st_size for table in ("steps", "episodes") for part in run.parts(table))
    assert size / len(run.steps()) <= 20
    episode = an_episode(cartpole)
    expected = plain_pictures(run, episode)
    frames = run.frames(episode)
    assert frames.shape == (run.episode(episode).length + 1, 400, 600, 3)
    assert np.array_equal(frames.array(), expected)
    assert all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True))
    assert np.array_equal(frames[-1], expected[-1])
    assert np.array_equal(frames[3:6], expected[3:6])
    assert np.array_equal(run.frame(episode, 2), expected[2])
    assert np.array_equal(run.episode(episode).frame(0, kind="render"), expected[0])


def test_pictures_in_any_order_within_a_small_bound(cartpole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerender, "PICTURE_BYTES", 0)
    lake = rolltape.open(cartpole)
    lake = pickle.loads(pickle.dumps(lake))
    renderer = lake.renderer
    renderer._picture_bytes = 2 * 400 * 600 * 3
    run, episode = lake.run(), an_episode(cartpole)
    expected = plain_pictures(run, episode)
    for t in (5, 2, 9, 9, 0, 4):
        assert np.array_equal(run.frame(episode, t), expected[t])
        assert renderer._kept_bytes <= renderer._picture_bytes
    picture = run.frame(episode, 4)
    picture[:] = 0
    assert np.array_equal(run.frame(episode, 4), expected[4])
    renderer.close()


def test_what_is_not_there(cartpole: Path) -> None:
    run, episode = rolltape.open(cartpole).run(), an_episode(cartpole)
    length = run.episode(episode).length
    with pytest.raises(LakeNotFound, match=rf"no picture of episode {episode} at t={length + 1}: it has {length + 1}"):
        run.frame(episode, length + 1)
    with pytest.raises(LakeNotFound, match="no episode 999999"):
        run.frames(999_999)
    with pytest.raises(LakeNotFound, match="no observation pictures"):
        run.frame(episode, 0, kind="observation")
    with pytest.raises(LakeNotFound, match=r"rolltape\.open"):
        rolltape.Lake(cartpole).run().frame(episode, 0)


def test_a_recording_that_differs_shows_nothing(lake: Path) -> None:
    with rolltape.Fleet("CartPole-v1", 1, lake, frames="replay") as fleet:
        run = fleet.collect(steps=150, progress=False)
        assert run.frame(0, 0).shape == (400, 600, 3)
    episode = an_episode(lake)
    change(lake, "steps", "reward", {"episode": episode, "t": 3}, lambda was: 2.0)
    with pytest.raises(ReplayFailed, match=r"t 3, reward: recorded 2\.0, replayed 1\.0 \(differs by 1\)"):
        rolltape.open(lake).run().frame(episode, 1)
    assert rolltape.open(lake).run().frame(episode + 1, 1).shape == (400, 600, 3)


def test_an_episode_without_a_seed_of_its_own(lake: Path) -> None:
    env = rolltape.record(gym.make("CartPole-v1"), lake, frames="replay")
    twin: Any = gym.make("CartPole-v1", render_mode="rgb_array")
    env.action_space.seed(8)
    env.reset(seed=8)
    twin.reset(seed=8)
    drawn: dict[int, list[Any]] = {0: [twin.render()]}
    episode = 0
    while episode < 3:
        action = env.action_space.sample()
        twin.step(action)
        drawn[episode].append(twin.render())
        if any(env.step(action)[2:4]):
            env.reset()
            twin.reset()
            episode += 1
            drawn[episode] = [twin.render()]
    env.close()
    run = rolltape.open(lake).run()
    for number in (1, 0, 2):
        assert np.array_equal(run.frames(number).array(), drawn[number])


def test_observations_that_are_pictures(lake: Path) -> None:
    pytest.importorskip("ale_py")
    kwargs = {"frameskip": 30}
    for policy in ("observation", "replay"):
        with rolltape.Fleet("ALE/Breakout-v5", 1, lake / policy, env_kwargs=kwargs, frames=policy) as fleet:
            fleet.collect(steps=30, progress=False)
    stored, drawn = (rolltape.open(lake / policy).run() for policy in ("observation", "replay"))
    assert drawn.parts("frames") == []
    assert "observation" not in drawn.steps().columns
    episode = stored.episodes().limit(1).to_dicts()[0]["episode"]
    assert np.array_equal(stored.frames(episode).array(), drawn.frames(episode).array())
    assert rolltape.replay(drawn).exact
    digests = [int(picture_digest(picture)) for picture in stored.frames(episode)]
    rows = drawn.steps(episode).to_dicts()
    assert [row["observation_digest"] for row in rows] == digests[:-1]
    assert drawn.episodes().to_dicts()[0]["final_observation_digest"] == digests[-1]


@pytest.mark.parametrize("column", ["observation_digest", "final_observation_digest"])
def test_a_picture_that_is_another_one_is_found_by_its_digest(column: str, lake: Path) -> None:
    sizes = {"observes_frames": True, "frame_size": [32, 24], "episode_length": 7}
    slow: dict[str, Any] = {"fragment": {"max_age_s": 20}, "commit": {"max_age_s": 20}, "frames": "replay"}
    env = rolltape.record(gym.make("rolltape.actors.synthetic:rolltape/Synthetic-v0", **sizes), lake, **slow)
    for seed in (1, 2):
        env.reset(seed=seed)
        while not env.step(env.action_space.sample())[2]:
            pass
    env.close()
    run = rolltape.open(lake).run()
    assert rolltape.replay(run).exact
    table, where = ("steps", {"episode": 1, "t": 3}) if column == "observation_digest" else ("episodes", {"episode": 1})
    change(lake, table, column, where, lambda digest: digest ^ 1)
    report = rolltape.replay(rolltape.open(lake).run())
    found = [result for result in report if result.outcome != "exact"]
    assert [(r.episode, r.outcome) for r in found] == [(1, "diverged")]
    assert found[0].divergence is not None
    assert (found[0].divergence.t, found[0].divergence.field) == (3 if table == "steps" else 7, "observation")


def test_what_could_never_be_drawn_is_refused(lake: Path) -> None:
    with pytest.raises(ConfigError, match="whole batch"):
        rolltape.Fleet("CartPole-v1", 2, lake, frames="replay", vectorization="native")
    with pytest.raises(ConfigError, match="whole batch"):
        rolltape.record(
            gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="vector_entry_point"), lake, frames="replay"
        )
    blind = gym.make("CartPole-v1")
    blind.metadata = {**blind.metadata, "render_modes": ["human"]}
    with pytest.raises(ConfigError, match="rgb_array"):
        rolltape.record(blind, lake, frames="replay")


# ---- films -----------------------------------------------------------------------------------------------------------


def test_a_gif(cartpole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image")
    episode, out = an_episode(cartpole), tmp_path / "films" / "x.gif"
    with pytest.raises(SystemExit) as ended:
        main(["video", "--lake", str(cartpole), "-e", str(episode), "-o", str(out), "--from", "2", "--to", "8"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"{out}: {out.stat().st_size:,} bytes\n"
    with image.open(out) as shown:
        assert shown.size == (600, 400)
        total_ms = 0
        for number in range(shown.n_frames):  # equal neighbours are one
            shown.seek(number)
            total_ms += shown.info["duration"]
        assert total_ms == 7 * 20  # CartPole says 50 a second
    assert [path.name for path in out.parent.iterdir()] == ["x.gif"]


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_video(cartpole: Path, tmp_path: Path, suffix: str) -> None:
    av = pytest.importorskip("av")
    run, episode = rolltape.open(cartpole).run(), an_episode(cartpole)
    path = run.video(episode, tmp_path / f"x{suffix}", first=1, last=6, fps=20, speed=0.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.average_rate) == pytest.approx(10, rel=0.1)
    assert len(shown) == 6
    expected = run.frame(episode, 1)
    assert shown[0].shape == expected.shape
    assert np.abs(shown[0].astype(int) - expected.astype(int)).mean() < 4


def test_films_that_cannot_be(cartpole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, episode = rolltape.open(cartpole).run(), an_episode(cartpole)
    for path, kwargs, error, said in (
        ("x.avi", {}, ConfigError, r"ends in \.gif, \.mp4"),
        ("x.gif", {"speed": 0}, ConfigError, "above 0"),
        ("x.gif", {"first": 900}, LakeNotFound, "No pictures for t 900"),
    ):
        with pytest.raises(error, match=said):
            run.video(episode, tmp_path / path, **kwargs)
    monkeypatch.setattr(film.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'pip install "rolltape\[video\]"'):
        run.video(episode, tmp_path / "x.gif")
    assert list(tmp_path.iterdir()) == []
