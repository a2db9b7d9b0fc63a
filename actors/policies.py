"""How a fleet chooses actions: at random, by `module:callable`, by a Python callable, or from a recorded sequence.

A policy is called once a step with the batched observations (leading axis: sub-environments) and returns batched actions.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space

from rolltape.schema.errors import BadPolicy

Policy = Callable[[Any], Any]
PolicySource = str | Callable[..., Any] | Sequence[Any] | np.ndarray


def load_policy(
    source: PolicySource, observation_space: gym.Space[Any], action_space: gym.Space[Any], num_envs: int, seed: int
) -> Policy:
    """Make a policy for `num_envs` sub-environments.

    Args:
        source: `"random"`; `"module:callable"`; a callable `act(observations) -> actions`; or actions, one entry a step, each
            for all sub-environments (batched) or one for each of them. A class is made first, with the keyword
            arguments among `observation_space, action_space, num_envs, seed` that its constructor takes.
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
        taken = inspect.signature(source).parameters
        source = source(**{name: value for name, value in offered.items() if name in taken})
    if not callable(source):
        raise BadPolicy(f"policy {source!r} is a {type(source).__name__}; expected a callable act(observations) -> actions.")
    return source


def find_callable(path: str) -> Callable[..., Any]:
    """Import what `module:callable` names; the working directory is searched too. Raises BadPolicy."""
    module_name, colon, attribute = path.partition(":")
    if not colon or not module_name or not attribute:
        raise BadPolicy(f"policy {path!r}: expected 'random' or 'module:callable', such as 'mypkg.agents:act'.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise BadPolicy(
            f"policy {path!r}: module {module_name!r} cannot be imported ({error}). It must be importable where the "
            f"workers run: install it, or start from the folder that holds it."
        ) from error
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            names = ", ".join(n for n in vars(found) if not n.startswith("_"))
            raise BadPolicy(f"policy {path!r}: {module_name!r} has no {name!r}. It has: {names}.") from None
    if not callable(found):
        raise BadPolicy(f"policy {path!r} is a {type(found).__name__}; expected a callable act(observations) -> actions.")
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
