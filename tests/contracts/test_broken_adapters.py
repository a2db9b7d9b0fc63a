"""Each check of the contract fails for an adapter that breaks its promise, and says what was broken."""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from rolltape.schema.adapters.adapter import RenderDescription, SpaceDescription, StateField
from rolltape.schema.adapters.toy_text import FrozenLakeAdapter
from rolltape.schema.errors import AdapterError
from rolltape.schema.render_payload import GridPayload, TextPayload
from rolltape.scripts.contracts.adapter_contract import CHECKS, AdapterContract, ContractBroken

pytest_plugins = ["pytester"]


class Nameless(FrozenLakeAdapter):
    name = "Frozen Lake"


class Greedy(FrozenLakeAdapter):
    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        return True


class Shy(FrozenLakeAdapter):
    @classmethod
    def fits(cls, env: gym.Env[Any, Any]) -> bool:
        return False


class OtherSpaces(FrozenLakeAdapter):
    def describe_space(self) -> SpaceDescription:
        return SpaceDescription({"type": "MultiBinary", "n": 3}, {"type": "MultiBinary", "n": 3})


class NoMeaning(FrozenLakeAdapter):
    def state_fields(self) -> Mapping[str, StateField]:
        return {**super().state_fields(), "row": StateField("int64", "")}


class OtherKinds(FrozenLakeAdapter):
    def describe_render(self) -> RenderDescription:
        return RenderDescription(("hologram",))


class Prying(FrozenLakeAdapter):
    def render_payload(self, env: gym.Env[Any, Any]) -> GridPayload | None:
        base: Any = env.unwrapped
        return super().render_payload(env) if base._np_random is not None else None


class Loud(FrozenLakeAdapter):
    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        base: Any = env.unwrapped
        return {"row": base.s // 4}


class Undeclared(FrozenLakeAdapter):
    def render_payload(self, env: gym.Env[Any, Any]) -> Any:
        return TextPayload(lines=("a lake",))


class OffTheGrid(FrozenLakeAdapter):
    def payload_of_state(self, state: Mapping[str, Any]) -> GridPayload | None:
        return super().payload_of_state({**state, "row": 9}) if state else None


class Silent(FrozenLakeAdapter):
    def render_payload(self, env: gym.Env[Any, Any]) -> None:
        return None


class NumPyNumbers(FrozenLakeAdapter):
    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        return {key: np.int64(value) if key == "row" else value for key, value in super().state(env).items()}


class UnknownKey(FrozenLakeAdapter):
    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        state = super().state(env)
        return {**state, "depth": 3} if state else {}


class Dicing(FrozenLakeAdapter):
    def render_payload(self, env: gym.Env[Any, Any]) -> GridPayload | None:
        env.unwrapped.np_random.random()
        return super().render_payload(env)


class Counting(FrozenLakeAdapter):
    calls = 0

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        Counting.calls += 1
        return {**super().state(env), "row": Counting.calls}


class Outermost(FrozenLakeAdapter):
    def render_payload(self, env: gym.Env[Any, Any]) -> Any:
        payload = super().render_payload(env)
        return payload if "RecordEpisodeStatistics" not in str(env) else None


class FirstOnly(FrozenLakeAdapter):
    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._first = id(env)

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        return super().state(env) if id(env) == self._first else {}


class Shared(FrozenLakeAdapter):
    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._shared = np.zeros(2, np.int32)

    def state_fields(self) -> Mapping[str, StateField]:
        return {**super().state_fields(), "cell": StateField("int32", "row and column", (2,))}

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        state = super().state(env)
        if state:
            self._shared[:] = state["row"], state["column"]
        return {**state, "cell": self._shared} if state else {}


class Keeping(FrozenLakeAdapter):
    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.kept = env


class Forgetful(FrozenLakeAdapter):
    def render_payload(self, env: gym.Env[Any, Any]) -> GridPayload | None:
        return super().payload_of_state(self.state(env))

    def payload_of_state(self, state: Mapping[str, Any]) -> GridPayload | None:
        return super().payload_of_state({**state, "row": 0}) if state else None


class Sleepy(FrozenLakeAdapter):
    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        for _ in range(400_000):
            pass
        return super().state(env)


class Abroad(FrozenLakeAdapter):
    """Tells something else in every process."""

    def state(self, env: gym.Env[Any, Any]) -> dict[str, Any]:
        import os

        state = super().state(env)
        return {**state, "column": os.getpid()} if state else {}


BROKEN = [
    ("declares", Nameless, "name must be"),
    ("fits", Greedy, "fits is False for an environment that is none of its kind"),
    ("fits", Shy, r"fits\(env\) is True"),
    ("spaces", OtherSpaces, r"observation: Discrete\(16\)"),
    ("spaces", NoMeaning, "state 'row': a meaning"),
    ("render", OtherKinds, "kinds of grid, rgb, graph, text"),
    ("public", Prying, "Prying reads `base._np_random`"),
    ("silent_before_reset", Loud, "raised AttributeError"),
    ("payloads", Undeclared, "a kind that describe_render names: grid"),
    ("payloads", OffTheGrid, r"raised SchemaMismatch: .*grid\.items\[0\]"),
    ("payloads", Silent, "a payload of grid once it was reset"),
    ("states", NumPyNumbers, "row: int64"),
    ("states", UnknownKey, "a key of state_fields: row, column, map"),
    ("only_looks", Dicing, "the same transition at step"),
    ("repeats", Counting, "the same payload and state at moment 0 of two equal runs"),
    ("sees_through_wrappers", Outermost, "with and without wrappers"),
    ("serves_many", FirstOnly, "what its own adapter tells"),
    ("keeps_nothing", Shared, "a state that stays as it was given: copy arrays"),
    ("keeps_nothing", Keeping, "no environment among its attributes; found 'kept'"),
    ("from_state", Forgetful, "from the state the payload"),
    ("quick", Sleepy, "at most 5 ms"),
]


@pytest.mark.parametrize(("check", "adapter", "complaint"), BROKEN, ids=[f"{c}-{a.__name__}" for c, a, _ in BROKEN])
def test_broken(check: str, adapter: type[FrozenLakeAdapter], complaint: str) -> None:
    if adapter is Nameless:
        with pytest.raises(AdapterError, match=complaint):
            AdapterContract(adapter, "FrozenLake-v1")
        return
    contract = AdapterContract(adapter, "FrozenLake-v1", {"is_slippery": True})
    with pytest.raises(ContractBroken, match=f"^{check}: .*{complaint}"):
        contract.check(check)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_broken_on_the_way_through_the_house(tmp_path: Any) -> None:
    contract = AdapterContract(f"{__name__}:Abroad", "FrozenLake-v1")
    with pytest.raises(ContractBroken, match=r"recorded: .*the recorded state at t=0"):
        contract.check("recorded", tmp_path)


def test_there_is_a_broken_adapter_for_every_check() -> None:
    assert {check for check, *_ in BROKEN} | {"recorded"} == set(CHECKS)


def test_the_plugin_runs_each_check_for_each_environment(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        theirs="""
        from rolltape.schema.adapters.toy_text import TaxiAdapter

        class Good(TaxiAdapter):
            name = "good_taxi"

        class Bad(Good):
            def state(self, env):
                return {}
        """
    )
    options = ["-p", "rolltape.scripts.contracts.plugin", "-p", "no:cacheprovider", "--rolltape-without-ray", "-q"]
    pytester.makeini("[pytest]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        patch.setenv("PYTHONPATH", str(pytester.path))
        run = pytester.runpytest_subprocess(*options, "--rolltape-adapter", "theirs:Good", "Taxi-v4")
        run.assert_outcomes(passed=len(CHECKS) - 1, skipped=1)
        run = pytester.runpytest_subprocess(*options, "--rolltape-adapter", "theirs:Bad", "Taxi-v4")
        assert run.parseoutcomes()["failed"] >= 1
        run.stdout.fnmatch_lines(
            ["*ContractBroken: states: expected a state with row, column, passenger, destination*"]
        )
        run = pytester.runpytest_subprocess(*options, "--rolltape-adapter", "theirs:Good")
        run.stderr.fnmatch_lines(["*--rolltape-adapter: name at least one environment*"])
