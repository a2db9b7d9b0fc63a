"""Our own adapters keep the contract; what records is checked where it is new: a graph, and a grid with all its state."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from rolltape.scripts.contracts.adapter_contract import AdapterContract

ENVIRONMENTS: list[tuple[str, dict[str, Any], str]] = [
    ("FrozenLake-v1", {"map_name": "8x8"}, ""),
    ("CliffWalking-v1", {"is_slippery": True}, ""),
    ("Taxi-v4", {}, ""),
    ("Blackjack-v1", {"sab": True}, ""),
    ("CartPole-v1", {}, ""),
    ("MountainCar-v0", {}, ""),
    ("MountainCarContinuous-v0", {}, ""),
    ("Pendulum-v1", {"render_mode": "rgb_array"}, ""),
    ("Acrobot-v1", {}, ""),
    ("LunarLander-v3", {"continuous": True}, "Box2D"),
    ("BipedalWalker-v3", {}, "Box2D"),
    ("ALE/Breakout-v5", {"obs_type": "ram"}, "ale_py"),
    ("MiniGrid-DoorKey-6x6-v0", {}, "minigrid"),
    ("MiniGrid-LavaCrossingS9N1-v0", {}, "minigrid"),
    ("tests.ray.environments:make_garden", {}, ""),
]


@pytest.mark.parametrize(("env", "kwargs", "package"), ENVIRONMENTS, ids=[env for env, *_ in ENVIRONMENTS])
def test_ours(env: str, kwargs: dict[str, Any], package: str) -> None:
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    AdapterContract("auto", env, kwargs).check_all()


def test_the_graph_environment() -> None:
    AdapterContract("tests.courier:CourierAdapter", "tests.courier:make_courier").check_all()


@pytest.mark.long
def test_one_that_draws_its_observations() -> None:
    pytest.importorskip("Box2D")
    AdapterContract("auto", "CarRacing-v3").check_all()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("adapter", "env"),
    [("tests.courier:CourierAdapter", "tests.courier:make_courier"), ("blackjack", "Blackjack-v1")],
)
def test_recorded_and_read_back(adapter: str, env: str, tmp_path: Path) -> None:
    AdapterContract(adapter, env).check("recorded", tmp_path)
