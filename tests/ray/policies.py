"""Policies for the tests of the command line; workers import them by the name of this module."""

from __future__ import annotations

import numpy as np


def zeros(observations: np.ndarray) -> np.ndarray:
    return np.zeros(len(observations), np.int64)


def talkative(observations: np.ndarray) -> np.ndarray:
    print("a policy said this")
    return zeros(observations)


def too_many(observations: np.ndarray) -> np.ndarray:
    return np.zeros(len(observations) + 1, np.int64)


def broken(observations: np.ndarray) -> np.ndarray:
    raise ValueError("the policy is broken")
