"""Makes the golden recordings that are missing: `python -m tests.golden.make_recordings [name …]`.

One tiny recording for each schema version and adapter, in `recordings/v1-<adapter>/`: a lake with one run, and
`expected.json` with what the loop saw itself. What is there is never made anew: it stands for the recordings of people,
and every later version has to read it. A new schema version or adapter gets a new folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import rolltape
from rolltape.actors.stepping import EnvRecipe, make_env
from rolltape.schema.adapters.registry import adapter_of
from rolltape.schema.info_json import encode_value
from rolltape.schema.render_payload import payload_to_json
from rolltape.storage.layout import RunFolder
from rolltape.storage.run_info import read_end_info, read_run_info, write_end_info, write_run_info
from tests.courier import CourierAdapter

VERSION = 1
FOLDER = Path(__file__).parent / "recordings"
LARGEST_BYTES = 60_000
EPISODES = 2
MOST_STEPS = {"car_racing": 1, "atari": 8}
USUAL_STEPS = 12

RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "frozen_lake": ("FrozenLake-v1", {}),
    "cliff_walking": ("CliffWalking-v1", {"is_slippery": True}),
    "taxi": ("Taxi-v4", {}),
    "blackjack": ("Blackjack-v1", {}),
    "classic_control": ("CartPole-v1", {}),
    "lunar_lander": ("LunarLander-v3", {"continuous": True}),
    "bipedal_walker": ("BipedalWalker-v3", {}),
    "car_racing": ("CarRacing-v3", {}),
    "atari": ("ALE/Breakout-v5", {}),
    "minigrid": ("MiniGrid-DoorKey-5x5-v0", {}),
    "generic": ("tests.ray.environments:make_garden", {}),
    "courier": ("tests.courier:make_courier", {}),
}


def fingerprint(value: Any) -> str:
    """A value as text that is the same for the same bits; its digest where it is long."""
    text = encode_value(value)
    return text if len(text) <= 60 else "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:20]


def ordered(value: Any) -> Any:
    """Dicts in the order of their keys: environments give them in any, spaces in one."""
    return {key: ordered(value[key]) for key in sorted(value)} if isinstance(value, dict) else value


def make(name: str, lake: Path) -> list[dict[str, Any]]:
    """Record into `lake`; what the loop saw."""
    env_id, kwargs = RECIPES[name]
    adapter_class: Any = CourierAdapter if name == "courier" else name
    bare = make_env(EnvRecipe(env_id, kwargs))
    if bare.spec is not None:
        bare = gym.wrappers.TimeLimit(bare, MOST_STEPS.get(name, USUAL_STEPS))
    adapter = adapter_of(bare, adapter_class)
    has_state = bool(adapter.state_fields())
    place = f"{type(adapter).__module__}:{type(adapter).__qualname__}"
    env = rolltape.record(bare, lake, adapter={"name": place, "state": has_state})
    env.action_space.seed(VERSION)
    expected = []
    for seed in range(EPISODES):
        expected.append(_episode(env, seed, lambda: adapter.state(bare), lambda: adapter.render_payload(bare)))
    env.close()
    return expected


def _episode(env: Any, seed: int, state: Callable[[], Any], payload: Callable[[], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: [] for name in ("observations", "actions", "rewards", "infos", "states", "payloads")}

    def note(observation: Any, info: dict[str, Any]) -> None:
        found["observations"].append(fingerprint(ordered(observation)))
        found["infos"].append(fingerprint(dict(sorted(info.items()))))
        found["states"].append(fingerprint(dict(sorted(state().items()))))
        shown = payload()
        found["payloads"].append(None if shown is None else fingerprint(payload_to_json(shown)))

    note(*env.reset(seed=seed))
    terminated = truncated = False
    while not (terminated or truncated):
        action = env.action_space.sample()
        observation, reward, terminated, truncated, info = env.step(action)
        found["actions"].append(fingerprint(action))
        found["rewards"].append(float(reward).hex())
        note(observation, info)
    total = float(np.sum([0.0]))
    for reward in found["rewards"]:
        total += float.fromhex(reward)
    return {"seed": seed, "terminated": bool(terminated), "truncated": bool(truncated), "return": total.hex(), **found}


def publish(name: str) -> int:
    """Make one golden recording; its bytes."""
    target = FOLDER / f"v{VERSION}-{name}"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        lake = Path("lake")
        expected = make(name, lake)
        for path in (*lake.glob("catalog.duckdb*"), *lake.glob(".catalog*")):
            path.unlink()
        (run_path,) = (lake / "runs").iterdir()
        run = RunFolder(run_path)
        host = {"name": "golden", "pid": 1, "platform": "", "cpus": 1}
        write_run_info(run, read_run_info(run) | {"host": host})
        write_end_info(run, (read_end_info(run) or {}) | {"path": f"runs/{run.run_id}"})
        run.run_copy.unlink()  # it would say the same again
        for empty in sorted((p for p in lake.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
            if not any(empty.iterdir()):
                empty.rmdir()
        (lake / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")
        size = sum(path.stat().st_size for path in lake.rglob("*") if path.is_file())
        if size > LARGEST_BYTES:
            raise SystemExit(f"{name}: {size:,} bytes; golden recordings have at most {LARGEST_BYTES:,}")
        shutil.copytree(lake, target)
    return size


def main(names: list[str]) -> None:
    """Make those that are named, or all that are missing."""
    if unknown := [name for name in names if name not in RECIPES]:
        raise SystemExit(f"no recipe for {', '.join(unknown)}; there are {', '.join(RECIPES)}")
    for name in names or RECIPES:
        if (FOLDER / f"v{VERSION}-{name}").exists():
            print(f"{name}: there already, and never made anew")
        else:
            print(f"{name}: {publish(name):,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
