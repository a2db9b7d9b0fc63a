"""What a user is told of an environment that cannot be made."""

import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from rolltape.actors.refusals import nearest
from rolltape.actors.stepping import EnvRecipe, make_env, spaces_of, uses_native
from rolltape.schema.errors import ConfigError, EnvError, MissingExtra, UnknownEnvironment, UnsupportedSpace


class Plain(gym.Env[Any, Any]):
    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, size: int = 1) -> None:
        if size < 0:
            raise OSError("cannot open the robot")


class Larger(Plain):
    def __init__(self, depth: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Careless(Plain):
    def __init__(self) -> None:
        super().__init__(colour="red")  # type: ignore[call-arg]


class NoSpace(Plain):
    action_space = "left or right"  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("CartPol-v1", r"Did you mean CartPole-v1"),
        ("cartpole-v1", r"Did you mean CartPole-v1"),
        ("CartPole-v7", r"there is no version 7\. Known: CartPole-v0, CartPole-v1\."),
        ("CarRacing-v2", r"there is no version 2\. Known: CarRacing-v3\."),
        ("Nobody/Nothing-v0", r"nothing registers environments called Nobody/….*'package:Nobody/Nothing-v0'"),
        ("Qwertyuiop-v0", r"nothing of that name is registered"),
        ("not an id", r"No environment 'not an id'"),
        ("no_such_module_x:Env-v0", r"there is no module 'no_such_module_x'.*importable where the workers run"),
        ("no_such_module_x:make", r"there is no module 'no_such_module_x'"),
        ("tests.unit.test_why_not_made:Plane", r"has no 'Plane'\. Did you mean Plain"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_unknown(source: str, told: str) -> None:
    with pytest.raises(UnknownEnvironment, match=told):
        make_env(EnvRecipe(source))


def test_near_names() -> None:
    known = {"CartPole-v0", "CartPole-v1", "phys2d/CartPole-v1", "ALE/Breakout-v5", "Breakout-v4", "Acrobot-v1"}
    assert nearest("CartPol-v1", known) == ["CartPole-v1", "phys2d/CartPole-v1"]
    assert nearest("ALE/Brekout-v5", known) == ["ALE/Breakout-v5", "Breakout-v4"]
    assert nearest("acrobat", known) == ["Acrobot-v1"]
    assert nearest("Walker-v1", known) == []


@pytest.mark.parametrize(
    ("env", "module", "how"),
    [
        ("ALE/Breakout-v5", "ale_py", r'pip install "rolltape\[atari\]"'),
        ("LunarLander-v3", "Box2D", r'pip install "rolltape\[box2d\]"'),
        ("MiniGrid-Empty-5x5-v0", "minigrid", r'pip install "rolltape\[minigrid\]"'),
        ("Ant-v5", "mujoco", r'pip install "gymnasium\[mujoco\]"'),
    ],
)
def test_a_missing_package(env: str, module: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module or "envs.box2d" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=f"{env} needs {module}, which is not installed: {how}"):
        make_env(EnvRecipe(env))


def test_a_package_that_no_extra_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "robots_x.py").write_text("import no_such_driver_x\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(MissingExtra, match=r"robots_x:make needs a package .* No module named 'no_such_driver_x'"):
        make_env(EnvRecipe("robots_x:make"))


def test_a_module_beside_the_user_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "garden_x.py").write_text("import gymnasium\ndef make(): return gymnasium.make('CartPole-v1')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    env = make_env(EnvRecipe("garden_x:make"))
    assert env.spec is not None and env.spec.id == "CartPole-v1"


def test_arguments_that_it_does_not_take() -> None:
    told = r"env_kwargs: CartPole-v1 takes no argument 'wheels' \(got wheels=3\)\. It takes .*sutton_barto_reward"
    with pytest.raises(ConfigError, match=told):
        make_env(EnvRecipe("CartPole-v1", {"wheels": 3}))
    with pytest.raises(ConfigError, match=r"argument 'szie' .* Did you mean size\? It takes size\."):
        make_env(EnvRecipe("tests.unit.test_why_not_made:Plain", {"szie": 3}))
    with pytest.raises(ConfigError, match=r"Larger takes no argument 'width' .* It takes depth, size\."):
        make_env(EnvRecipe(Larger, {"width": 3}))
    with pytest.raises(ConfigError, match=r"Plain takes no render_mode='rgb_array': its renders cannot be recorded"):
        make_env(EnvRecipe(Plain, {"render_mode": "rgb_array"}))


def test_a_constructor_that_raises() -> None:
    with pytest.raises(EnvError, match=r"Careless cannot be made\. It raised TypeError: .*'colour'"):
        make_env(EnvRecipe(Careless))
    told = r"Plain cannot be made with size=-1\. It raised OSError: cannot open the robot \(.*:\d+, in __init__\)"
    with pytest.raises(EnvError, match=told) as raised:
        make_env(EnvRecipe(Plain, {"size": -1}))
    assert isinstance(raised.value.__cause__, OSError)


def test_what_is_no_environment() -> None:
    with pytest.raises(UnsupportedSpace, match=r"action_space is 'left or right', not a gymnasium\.Space"):
        spaces_of(EnvRecipe(NoSpace))
    with pytest.raises(EnvError, match=r"makes a builtins\.dict, which is not a gymnasium\.Env"):
        spaces_of(EnvRecipe(dict))
    with pytest.raises(EnvError, match=r"Give what makes one of its sub-environments"):
        spaces_of(EnvRecipe(lambda: gym.make_vec("CartPole-v1", num_envs=2)))


def test_ways_that_it_cannot_be_stepped() -> None:
    with pytest.raises(ConfigError, match=r"vectorization: must be one of 'auto', 'sync', 'native' \(got 'fast'\)"):
        EnvRecipe("CartPole-v1", vectorization="fast")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"autoreset: must be one of"):
        EnvRecipe("CartPole-v1", autoreset="later")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Plain has no native vector environment"):
        uses_native(EnvRecipe(Plain, vectorization="native"), Plain())
    cart = EnvRecipe("CartPole-v1", vectorization="native", autoreset="same_step")
    with pytest.raises(ConfigError, match=r"the native CartPole-v1 has 'next_step', not 'same_step'"):
        uses_native(cart, make_env(cart))
