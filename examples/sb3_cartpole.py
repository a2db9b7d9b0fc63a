"""Stable-Baselines3's PPO on CartPole, its environments recorded into one run.

The script is the one of its documentation but for the line with `wrapper_class`. It needs `pip install
stable-baselines3`, which brings torch:

    python examples/sb3_cartpole.py
    rolltape run -- python examples/sb3_cartpole.py
"""

from __future__ import annotations

import sys

from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

import rolltape as rt

vec_env = make_vec_env("CartPole-v1", n_envs=4, seed=1, wrapper_class=rt.record, wrapper_kwargs={"run": "ppo"})
model = PPO("MlpPolicy", vec_env, verbose=1, n_steps=256)
model.learn(total_timesteps=int(sys.argv[1]) if len(sys.argv) > 1 else 25_000)
vec_env.close()
