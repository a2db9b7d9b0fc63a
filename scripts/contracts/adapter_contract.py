"""The contract of environment adapters, one check a promise: adapter -> hub -> storage -> reader.

`AdapterContract("my.package:MyAdapter", "My/Env-v0").check_all()` runs them; so does, with one test a check,

    pytest --rolltape-adapter my.package:MyAdapter My/Env-v0

A check that fails raises `ContractBroken`: which promise, what was expected, what was found.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import numpy as np

from rolltape.schema.adapters.adapter import STATE_TYPES, EnvironmentAdapter, check_adapter_class, derives_from
from rolltape.schema.adapters.live import MAX_BYTES
from rolltape.schema.adapters.registry import adapter_of, choose
from rolltape.schema.info_json import encode_value
from rolltape.schema.render_payload import PAYLOADS, RgbPayload, check_payload, payload_from_json, payload_to_json
from rolltape.schema.space_signature import space_signature

from .private_reads import private_reads

STEPS: Final = 40
"""Steps of random actions, over several episodes where they are shorter."""
SLOW_S: Final = 0.005
"""Median of what a payload and a state may take."""

CHECKS: Final = (
    "declares",
    "fits",
    "spaces",
    "render",
    "public",
    "silent_before_reset",
    "payloads",
    "states",
    "only_looks",
    "repeats",
    "sees_through_wrappers",
    "serves_many",
    "keeps_nothing",
    "from_state",
    "quick",
    "recorded",
)
"""In this order. `recorded` starts Ray and writes a small recording; the others take a second together."""


class ContractBroken(AssertionError):
    """A promise of the contract is not kept; the message says which, what was expected and what was found."""


class AdapterContract:
    """The checks of one adapter with one environment.

    Args:
        adapter: the class, its name, `"module:Class"`, or `"auto"` for the one that fits.
        env: a registered id, `module:Id-v0`, `module:callable`, or a callable that makes one.
        env_kwargs: arguments for making it.
        seed: of the environments and of the random actions.

    Raises:
        AdapterError, EnvError: the adapter or the environment cannot be loaded.
    """

    def __init__(
        self,
        adapter: str | type[EnvironmentAdapter],
        env: str | Callable[..., gym.Env[Any, Any]],
        env_kwargs: Mapping[str, Any] | None = None,
        seed: int = 7,
    ) -> None:
        self.source, self.env_kwargs, self.seed = env, dict(env_kwargs or {}), seed
        env_made = self.make()
        self.adapter_class = choose(env_made, adapter)
        self.asked = adapter
        env_made.close()

    def make(self) -> gym.Env[Any, Any]:
        """One environment, as a Fleet makes it."""
        from rolltape.actors.stepping import EnvRecipe, make_env

        return make_env(EnvRecipe(self.source, self.env_kwargs))

    def check_all(self, folder: Path | None = None) -> None:
        """Every check; `recorded` only with a folder for its recording. Raises ContractBroken."""
        for name in CHECKS:
            if name != "recorded" or folder is not None:
                self.check(name, folder)

    def check(self, name: str, folder: Path | None = None) -> None:
        """One check of `CHECKS`. Raises ContractBroken."""
        try:
            if name == "recorded":
                if folder is None:
                    raise ValueError("the check 'recorded' needs a folder")
                self.check_recorded(folder)
            else:
                getattr(self, f"check_{name}")()
        except ContractBroken as error:
            raise ContractBroken(f"{name}: {error}") from error.__cause__
        except AssertionError:
            raise
        except Exception as error:
            raise ContractBroken(f"{name}: the adapter raised {type(error).__name__}: {error}") from error

    # ---- what it says of itself -------------------------------------------------------------------------------------

    def check_declares(self) -> None:
        """It has a name, a version and a capability that this Rolltape speaks."""
        check_adapter_class(self.adapter_class)

    def check_fits(self) -> None:
        """It says that it fits this environment, and not that it fits every other."""
        env = self.make()
        want(self.adapter_class.fits(env) is True, "fits(env) is True", self.adapter_class.fits(env))
        stranger = _Stranger()
        if self.adapter_class.name != "generic" and not derives_from(env, f"{__name__}:_Stranger"):
            want(
                self.adapter_class.fits(stranger) is False,
                "fits is False for an environment that is none of its kind",
                True,
            )
        env.close()

    def check_spaces(self) -> None:
        """`describe_space` has the spaces of the outermost wrapper, as JSON, and says the same twice."""
        env = self.make()
        said = self.adapter_class(env).describe_space()
        for what, space in (("observation", env.observation_space), ("action", env.action_space)):
            descriptor = getattr(said, what)
            want(space_signature(descriptor) == space_signature(space), f"{what}: {space}", descriptor)
        again = self.adapter_class(env).describe_space()
        want(
            _json(said.to_json()) == _json(again.to_json()), "describe_space says the same each time", "something else"
        )
        for names in (said.observation_names, said.action_names):
            want(
                isinstance(names, tuple) and all(type(name) is str for name in names),
                "names as a tuple of texts",
                names,
            )
        for key, field in said.state.items():
            want(type(key) is str and key != "" and "." not in key, "a key of letters without a point", key)
            want(field.dtype in STATE_TYPES, f"state {key!r}: a dtype of {', '.join(STATE_TYPES)}", field.dtype)
            want(bool(field.meaning), f"state {key!r}: a meaning", field.meaning)
        env.close()

    def check_render(self) -> None:
        """`describe_render` names kinds of payload that there are, as JSON."""
        env = self.make()
        said = self.adapter_class(env).describe_render()
        want(
            isinstance(said.kinds, tuple) and set(said.kinds) <= set(PAYLOADS),
            f"kinds of {', '.join(PAYLOADS)}",
            said.kinds,
        )
        want(type(said.from_state) is bool, "from_state: True or False", said.from_state)
        _json(self.adapter_class(env).describe())
        env.close()

    def check_public(self) -> None:
        """Its source reads no private attribute of an environment, except by `getattr` with a fallback."""
        for kind in self.adapter_class.__mro__:
            if kind is EnvironmentAdapter:
                break
            for name, line in private_reads(kind):
                raise ContractBroken(
                    f"expected public attributes, or getattr with a fallback; {kind.__qualname__} reads `{name}` in "
                    f"line {line} of the class."
                )

    # ---- what it tells ----------------------------------------------------------------------------------------------

    def check_silent_before_reset(self) -> None:
        """Before the first reset nothing is raised; what can be told already, may be."""
        env = self.make()
        adapter = self.adapter_class(env)
        payload, state = adapter.render_payload(env), adapter.state(env)
        if payload is not None:
            check_payload(payload)
        want(isinstance(state, dict), "state gives a dict", state)
        env.close()

    def check_payloads(self) -> None:
        """Payloads are of the kinds that were described, every viewer can show them, and JSON keeps them."""
        kinds = None
        for env, adapter in self._moments():
            payload = adapter.render_payload(env)
            kinds = adapter.describe_render().kinds if kinds is None else kinds
            if payload is None:
                want(not kinds, f"a payload of {', '.join(kinds)} once it was reset", None)
                continue
            check_payload(payload)
            want(payload.kind in kinds, f"a kind that describe_render names: {', '.join(kinds)}", payload.kind)
            if isinstance(payload, RgbPayload):
                want(payload.run_id is None and payload.t is None, "a live rgb payload without run and t", payload)
            text = _json(payload_to_json(payload))
            want(payload_from_json(json.loads(text)) == payload, "the same payload after JSON", text)
            want(len(text) <= MAX_BYTES, f"at most {MAX_BYTES:,} bytes of JSON", len(text))

    def check_states(self) -> None:
        """States have the keys and types that were described, and no other."""
        for env, adapter in self._moments():
            fields, state = adapter.state_fields(), adapter.state(env)
            want(bool(state) or not fields, f"a state with {', '.join(fields)} once it was reset", state)
            for key, value in state.items():
                want(key in fields, f"a key of state_fields: {', '.join(fields)}", key)
                kind = f"{fields[key].dtype}{list(fields[key].shape) or ''}"
                want(fields[key].holds(value), f"{key}: {kind}", f"{type(value).__name__} {value!r:.60}")

    # ---- how it behaves ---------------------------------------------------------------------------------------------

    def check_only_looks(self) -> None:
        """An environment that is looked at does what one does that is not: same values, bit for bit."""
        looked, alone = self.make(), self.make()
        adapter = self.adapter_class(looked)
        ours = self._walk(looked, lambda: (adapter.render_payload(looked), adapter.state(looked)))
        for (t, seen), (_, unseen) in zip(ours, self._walk(alone), strict=True):
            want(_text(seen) == _text(unseen), f"the same transition at step {t} as without an adapter", "another")
        looked.close()
        alone.close()

    def check_repeats(self) -> None:
        """The same seed and actions give the same payloads and states."""
        first, second = (list(self._told()) for _ in range(2))
        for t, (one, other) in enumerate(zip(first, second, strict=True)):
            want(one == other, f"the same payload and state at moment {t} of two equal runs", (one, other))

    def check_sees_through_wrappers(self) -> None:
        """Wrappers change neither payload nor state: those of `gymnasium.make` and others."""
        env = self.make()
        wrapped = gym.wrappers.TransformReward(gym.wrappers.RecordEpisodeStatistics(env), lambda reward: reward)
        adapter = self.adapter_class(wrapped)
        for _ in self._walk(wrapped):
            outside = adapter.render_payload(wrapped), _text(adapter.state(wrapped))
            inside = adapter.render_payload(env), _text(adapter.state(env))
            want(outside == inside, "the same payload and state with and without wrappers", (outside, inside))
        wrapped.close()

    def check_serves_many(self) -> None:
        """An adapter made from one environment tells of another what that one's own adapter tells."""
        first, second = self.make(), self.make()
        shared, own = self.adapter_class(first), self.adapter_class(second)
        first.reset(seed=self.seed + 1)
        for _ in self._walk(second):
            told = shared.render_payload(second), _text(shared.state(second))
            want(told == (own.render_payload(second), _text(own.state(second))), "what its own adapter tells", told)
            shared.render_payload(first)
        first.close()
        second.close()

    def check_keeps_nothing(self) -> None:
        """A state that was given does not change when the environment goes on, and no environment is kept."""
        env = self.make()
        adapter = self.adapter_class(env)
        given: list[tuple[dict[str, Any], str]] = []
        for _ in self._walk(env):
            given += [(state, _text(state)) for state in [adapter.state(env)]]
        for state, text in given:
            want(_text(state) == text, "a state that stays as it was given: copy arrays", "one that changed later")
        for name, value in vars(adapter).items():
            want(not isinstance(value, gym.Env), "no environment among its attributes", name)
        env.close()

    def check_from_state(self) -> None:
        """Where `from_state` is said, a state that was recorded and read back gives the payload of its moment."""
        for env, adapter in self._moments():
            if not adapter.describe_render().from_state:
                return
            live = adapter.render_payload(env)
            state = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in adapter.state(env).items()}
            want(
                adapter.payload_of_state(state) == live,
                f"from the state the payload {live}",
                adapter.payload_of_state(state),
            )

    def check_quick(self) -> None:
        """Payload and state take less than `SLOW_S` in the median: they are asked for between two steps."""
        taken: list[float] = []
        for env, adapter in self._moments():
            began = time.perf_counter()
            adapter.render_payload(env)
            adapter.state(env)
            taken.append(time.perf_counter() - began)
        median = sorted(taken)[len(taken) // 2]
        want(median <= SLOW_S, f"at most {SLOW_S * 1000:g} ms for payload and state", f"{median * 1000:.1f} ms")

    # ---- through the whole house ------------------------------------------------------------------------------------

    def check_recorded(self, folder: Path) -> None:
        """Recorded by a Fleet and read back, description, state and payloads are those of the environment alone; the
        replay is exact."""
        import rolltape

        env = self.make()
        adapter = self.adapter_class(env)
        has_state = bool(adapter.state_fields())
        place = f"{self.adapter_class.__module__}:{self.adapter_class.__qualname__}"
        with rolltape.Fleet(
            self.source,
            num_envs=2,
            num_workers=1,
            lake=folder,
            env_kwargs=self.env_kwargs,
            seed=self.seed,
            vectorization="sync",
            adapter={"name": place, "state": has_state},
        ) as fleet:
            fleet.collect(steps=2 * STEPS, progress=False)
        run = rolltape.open(folder).run(fleet.run_id)
        want(
            run.info["adapter"] == json.loads(_json(adapter.describe())),
            "its description in run.json",
            run.info["adapter"],
        )
        for row in run.episodes("length > 0").limit(3).to_dicts():
            episode = run.episode(row["episode"])
            env.reset(seed=episode.seed)
            for t in range(episode.length + 1):
                self._compare_moment(episode, t, adapter, env)
                if t < episode.length:
                    env.step(episode.actions[t])
        env.close()
        report = rolltape.replay(run)
        want(report.exact, "an exact replay, state included", str(report.divergence or report))

    def _compare_moment(self, episode: Any, t: int, adapter: EnvironmentAdapter, env: gym.Env[Any, Any]) -> None:
        state = adapter.state(env) if adapter.state_fields() else {}
        read = episode.state(t)
        want(_listed(read) == _listed(state), f"the recorded state at t={t} as it is alone: {state}", read)
        live, shown = adapter.render_payload(env), episode.render_payload(t)
        if isinstance(live, RgbPayload):
            want(shown is None or isinstance(shown, RgbPayload), f"a frame at t={t}", shown)
            if isinstance(shown, RgbPayload):
                episode.frame(shown.t, kind=shown.frame)
        else:
            want(shown == live, f"the payload at t={t} as it is alone: {live}", shown)

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _walk(self, env: gym.Env[Any, Any], look: Callable[[], Any] = lambda: None) -> Iterator[tuple[int, Any]]:
        """Reset and random steps, always the same; each moment with what was returned."""
        actions = copy.deepcopy(env.action_space)  # it may be one for all environments of a class
        actions.seed(self.seed)
        seed = self.seed
        returned: Any = env.reset(seed=seed)
        for t in range(STEPS):
            look()
            yield t, returned
            ended = len(returned) == 5 and (returned[2] or returned[3])
            if ended:
                seed += 1
            returned = env.reset(seed=seed) if ended else env.step(actions.sample())
        look()
        yield STEPS, returned

    def _moments(self) -> Iterator[tuple[gym.Env[Any, Any], EnvironmentAdapter]]:
        env = self.make()
        adapter = adapter_of(env, self.adapter_class)
        for _ in self._walk(env):
            yield env, adapter
        env.close()

    def _told(self) -> Iterator[tuple[Any, str]]:
        for env, adapter in self._moments():
            yield adapter.render_payload(env), _text(adapter.state(env))


def want(kept: bool, expected: str, found: Any) -> None:
    """Raise ContractBroken where a promise is not kept."""
    if not kept:
        raise ContractBroken(f"expected {expected}; found {found!r:.300}")


class _Stranger(gym.Env[Any, Any]):
    """An environment that nobody knows."""

    observation_space = gym.spaces.Discrete(2)
    action_space = gym.spaces.Discrete(2)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise ContractBroken(f"expected plain JSON; found {value!r:.200}: {error}") from error


def _text(value: Any) -> str:
    """Values as one text: the same text, the same bits."""
    return encode_value(value)


def _listed(state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.tolist() if hasattr(value, "tolist") else value for key, value in state.items()}
