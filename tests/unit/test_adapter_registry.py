"""Which adapter an environment gets: asked for, registered, installed, ours, generic; conflicts and what cannot load."""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from rolltape.schema.adapters import registry
from rolltape.schema.adapters.adapter import EnvironmentAdapter
from rolltape.schema.adapters.generic import GenericAdapter
from rolltape.schema.adapters.registry import (
    adapter_of,
    known_adapters,
    named_adapter,
    register_adapter,
    unregister_adapter,
)
from rolltape.schema.adapters.toy_text import FrozenLakeAdapter, TaxiAdapter
from rolltape.schema.errors import AdapterError


class Everything(EnvironmentAdapter):
    name = "everything"

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        return True


class More(Everything):
    name = "more"


class Rival(EnvironmentAdapter):
    name = "rival"

    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        return True


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    for name in ("everything", "more", "rival", "frozen_lake"):
        unregister_adapter(name)
    registry._warned.clear()


@pytest.fixture
def lake() -> Iterator[gym.Env[Any, Any]]:
    env = gym.make("FrozenLake-v1")
    yield env
    env.close()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str, **points: str) -> None:
    """A package with entry points, as pip would install it."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[rolltape.adapters]\n{lines}")
    monkeypatch.syspath_prepend(str(folder))


def module(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text("from rolltape.schema.adapters.adapter import EnvironmentAdapter\n" + text)
    sys.modules.pop(name, None)


def test_ours_by_class_through_wrappers_and_subclasses() -> None:
    from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv

    class Pond(FrozenLakeEnv):
        pass

    assert type(adapter_of(Pond())) is FrozenLakeAdapter
    wrapped = gym.wrappers.TransformReward(gym.make("Taxi-v4"), lambda reward: reward)
    assert type(adapter_of(wrapped)) is TaxiAdapter


def test_what_nobody_knows_is_generic() -> None:
    class Unknown(gym.Env[Any, Any]):
        observation_space = gym.spaces.Discrete(2)
        action_space = gym.spaces.Discrete(2)

    adapter = adapter_of(Unknown())
    assert type(adapter) is GenericAdapter
    assert adapter.render_payload(Unknown()) is None
    assert adapter.describe()["render"]["kinds"] == {}


def test_registered_comes_before_ours_and_derived_before_its_base(lake: gym.Env[Any, Any]) -> None:
    register_adapter(Everything)
    assert type(adapter_of(lake)) is Everything
    register_adapter(More)
    assert type(adapter_of(lake)) is More


def test_two_that_fit_equally_are_a_conflict_that_names_both(lake: gym.Env[Any, Any]) -> None:
    register_adapter(Everything)
    register_adapter(Rival)
    with pytest.raises(AdapterError, match=r"equally: 'everything' .* and 'rival' .*adapter='everything'"):
        adapter_of(lake)
    assert type(adapter_of(lake, "rival")) is Rival
    assert type(adapter_of(lake, "frozen_lake")) is FrozenLakeAdapter


def test_installed_comes_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: gym.Env[Any, Any]) -> None:
    module(
        tmp_path,
        "their_adapters",
        "class Theirs(EnvironmentAdapter):\n    name = 'theirs'\n"
        "    @classmethod\n    def fits(cls, env): return True\n",
    )
    install(tmp_path, monkeypatch, "theirpkg", theirs="their_adapters:Theirs")
    assert adapter_of(lake).name == "theirs"
    known = {one.name: one.origin for one in known_adapters()}
    assert known["theirs"] == "theirpkg"
    register_adapter(Everything)
    assert adapter_of(lake).name == "everything"


def test_one_name_of_two_packages_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "class A(EnvironmentAdapter):\n    name = 'same'\n"
    for letter in "ab":
        (tmp_path / letter).mkdir()
        module(tmp_path / letter, f"same_{letter}", text)
        install(tmp_path / letter, monkeypatch, f"pkg{letter}", same=f"same_{letter}:A")
    with pytest.raises(AdapterError, match=r"'same' is the name of same_a:A \(pkga\) and of same_b:A \(pkgb\)"):
        named_adapter("same")
    assert named_adapter("same_b:A").__module__ == "same_b"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("no_such_module:A", "No module named"),
        ("broken_adapters:NoName", "name must be"),
        ("broken_adapters:Newer", "speaks capability 99"),
        ("broken_adapters:Other", "its entry point has to be called so"),
        ("broken_adapters:function", "not a class that derives from EnvironmentAdapter"),
    ],
)
def test_what_cannot_be_loaded_is_left_out_with_one_warning(
    value: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: gym.Env[Any, Any]
) -> None:
    module(
        tmp_path,
        "broken_adapters",
        "class NoName(EnvironmentAdapter): pass\n"
        "class Newer(EnvironmentAdapter):\n    name = 'broken'\n    capability = 99\n"
        "class Other(EnvironmentAdapter):\n    name = 'other'\n"
        "def function(): pass\n",
    )
    install(tmp_path, monkeypatch, "brokenpkg", broken=value)
    with pytest.warns(UserWarning, match=f"'broken' of brokenpkg is left out: .*{problem}"):
        assert adapter_of(lake).name == "frozen_lake"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert adapter_of(lake).name == "frozen_lake"
    with pytest.raises(AdapterError, match=f"'broken' of brokenpkg cannot be loaded: .*{problem}"):
        named_adapter("broken")


def test_one_that_raises_is_named(lake: gym.Env[Any, Any]) -> None:
    class Raises(EnvironmentAdapter):
        name = "rival"

        @classmethod
        def fits(cls, env: gym.Env[Any, Any]) -> bool:
            raise KeyError("inside")

    register_adapter(Raises)
    with pytest.raises(AdapterError, match=r"'rival' .* raised when it was asked whether it fits .*KeyError: 'inside'"):
        adapter_of(lake)

    class CannotBeMade(Everything):
        name = "rival"

        def __init__(self, env: gym.Env[Any, Any]) -> None:
            raise AttributeError("no grid")

    register_adapter(CannotBeMade)
    with pytest.raises(AdapterError, match=r"'rival' .* cannot be made from .*no grid.*adapter=\"generic\""):
        adapter_of(lake)


@pytest.mark.parametrize("place", ["nowhere.to:Find", "rolltape.schema.adapters.toy_text:Nobody", "math:pi"])
def test_a_place_without_an_adapter(place: str) -> None:
    with pytest.raises(AdapterError, match=r"cannot be loaded|not a class"):
        named_adapter(place)
