"""What a step raised: the environment, or the policy that gave it what are no actions.

Each error carries the whole traceback as a note, because an exception loses its own on the way between processes.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rolltape.schema.errors import BadPolicy, RolltapeError, RunFailed

from .blame import full, said
from .policies import PolicySource, name_of


def policy_raised(policy: PolicySource, error: Exception) -> RolltapeError:
    """A policy raised `error` instead of choosing actions."""
    if isinstance(error, RolltapeError):
        return error
    return _noted(BadPolicy(f"policy {name_of(policy)} raised {said(error)}."), error)


def reset_raised(env_id: str, error: Exception) -> RolltapeError:
    """An environment raised `error` in `reset`."""
    return _noted(RunFailed(f"{env_id} raised {said(error)} in reset().{_hint(error)}"), error)


def step_raised(
    env_id: str, policy: PolicySource, error: Exception, actions: Any, action_space: gym.Space[Any]
) -> RolltapeError:
    """An environment raised `error` in `step`, given the batched `actions`."""
    if not _fits(actions, action_space):
        return _noted(
            BadPolicy(
                f"policy {name_of(policy)} returned {_shown(actions)}, which is not in the batched action space "
                f"{_flat(action_space)}. {env_id} raised {said(error)}."
            ),
            error,
        )
    return _noted(RunFailed(f"{env_id} raised {said(error)} in step().{_hint(error)}"), error)


def check_actions(policy: PolicySource, actions: Any, action_space: gym.Space[Any]) -> None:
    """Raise BadPolicy unless `actions` has the shape of the batched space; a wrong one may step without complaint."""
    expected = action_space.shape
    if expected is None or isinstance(action_space, gym.spaces.Dict | gym.spaces.Tuple):
        return
    found = np.shape(actions)
    if found != expected:
        raise BadPolicy(
            f"policy {name_of(policy)} returned actions of shape {found}, expected {expected}: one action for each of "
            f"{expected[0]} sub-environments. A policy gets batched observations and returns batched actions."
        )


def _fits(actions: Any, space: gym.Space[Any]) -> bool:
    """Whether actions lie in the space; their dtype may be another, as environments take it."""
    try:
        if isinstance(space, gym.spaces.Box | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary | gym.spaces.Discrete):
            array = np.asarray(actions)
            return array.shape == space.shape and bool(space.contains(array.astype(space.dtype)))
        return bool(space.contains(actions))
    except (TypeError, ValueError):
        return False


def _hint(error: Exception) -> str:
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        if code.co_name in ("concatenate", "_concatenate_base") and "gymnasium" in code.co_filename:
            return " An observation does not have the shape of the observation space."
        frame = frame.tb_next
    return ""


def _noted(told: RolltapeError, error: Exception) -> RolltapeError:
    told.add_note(full(error))
    return told


def _shown(actions: Any) -> str:
    text = _flat(actions)
    return text if len(text) <= 200 else text[:200] + " …"


def _flat(value: Any) -> str:
    return " ".join(repr(value).split())
