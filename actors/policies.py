"""How a fleet chooses actions: at random, by `module:callable`, by a Python callable, or from a recorded sequence.

A policy is called once a step with the batched observations (leading axis: sub-environments) and returns batched
actions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from rolltape.schema.errors import BadPolicy

from .blame import said
from .imports import import_module

Policy = Callable[[Any], Any]
PolicySource = str | Callable[..., Any] | Sequence[Any] | np.ndarray


def load_policy(
    source: PolicySource, observation_space: gym.Space[Any], action_space: gym.Space[Any], num_envs: int, seed: int
) -> Policy:
    """Make a policy for `num_envs` sub-environments.

    Args:
        source: `"random"`; `"module:callable"`; a callable `act(observations) -> actions`; or actions, one entry a
            step, each for all sub-environments (batched) or one for each of them. A class is made first, with the
            keyword arguments among `observation_space, action_space, num_envs, seed` that its constructor takes.
        observation_space: of one sub-environment.
        action_space: of one sub-environment.
        seed: of the random policy.

    Raises:
        BadPolicy: it cannot be found or imported, or is not callable.
    """
    if isinstance(source, str):
        if source == "random":
            return _random(action_space, num_envs, seed)
        source = find_callable(source)
    if isinstance(source, Sequence | np.ndarray):
        return _recorded(source)
    if inspect.isclass(source):
        offered = {
            "observation_space": observation_space,
            "action_space": action_space,
            "num_envs": num_envs,
            "seed": seed,
        }
        try:
            taken = set(inspect.signature(source).parameters)
        except ValueError:  # one written in C tells nothing
            taken = set()
        given = {name: value for name, value in offered.items() if name in taken}
        try:
            made = source(**given)
        except Exception as error:
            raise BadPolicy(f"policy {name_of(source)}({', '.join(given)}) raised {said(error)}.") from error
        return _checked(made)
    return _checked(source)


def _checked(policy: Any) -> Policy:
    if not callable(policy):
        raise BadPolicy(f"policy {policy!r} cannot be called; expected act(observations) -> actions.")
    return policy


def name_of(source: PolicySource) -> str:
    """What a message calls a policy."""
    return repr(source) if isinstance(source, str) else getattr(source, "__qualname__", type(source).__name__)


def find_callable(path: str) -> Callable[..., Any]:
    """Import what `module:callable` names; the working directory is searched too. Raises BadPolicy."""
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise BadPolicy(f"policy {path!r}: expected 'random' or 'module:callable', such as 'mypkg.agents:act'.")
    try:
        found: Any = import_module(module_name)
    except Exception as error:  # whatever the module does when it is imported
        absent = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if absent and f"{module_name}.".startswith(f"{absent}."):
            raise BadPolicy(
                f"policy {path!r}: there is no module {absent!r}. It must be importable where the workers run: "
                f"install it, or start from the folder that holds it."
            ) from None
        raise BadPolicy(f"policy {path!r}: importing {module_name!r} raised {said(error)}.") from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            callables = [n for n, value in vars(found).items() if not n.startswith("_") and callable(value)]
            names = f"Its callables: {', '.join(callables)}." if callables else "Nothing in it can be called."
            raise BadPolicy(f"policy {path!r}: {module_name!r} has no {name!r}. {names}") from None
    if not callable(found):
        raise BadPolicy(f"policy {path!r} is {found!r}; expected a function act(observations) -> actions.")
    return found


def _random(action_space: gym.Space[Any], num_envs: int, seed: int) -> Policy:
    batched = batch_space(action_space, num_envs)
    batched.seed(seed)
    return lambda observations: batched.sample()


def _recorded(actions: Sequence[Any] | np.ndarray) -> Policy:
    if not len(actions):
        raise BadPolicy("policy: the recorded action sequence is empty; it needs one entry a step.")
    step = iter(actions)

    def act(observations: Any) -> Any:
        try:
            return next(step)
        except StopIteration:
            raise BadPolicy(
                f"policy: the recorded action sequence has {len(actions)} steps and the run wants more. "
                f"Ask for fewer steps or give more actions."
            ) from None

    return act
