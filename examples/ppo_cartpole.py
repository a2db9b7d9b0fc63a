"""PPO on CartPole in one file, in the manner of CleanRL, with NumPy alone.

Recorded by one line: the one that says `rt.record`. Alone it makes a run of its own; under `rolltape run` it joins that
run, and what it prints is kept beside its steps:

    python examples/ppo_cartpole.py
    rolltape run -- python examples/ppo_cartpole.py --total-timesteps 100000
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import gymnasium as gym
import numpy as np

import rolltape as rt


class Net:
    """Two tanh layers and a linear head; `backward` gives the gradients of the last `forward`."""

    def __init__(self, rng, sizes, head_scale):
        self.w = [rng.normal(0, 1, (n, m)) * np.sqrt(2 / n) for n, m in pairwise(sizes)]
        self.w[-1] = rng.normal(0, head_scale, self.w[-1].shape)
        self.b = [np.zeros(m) for m in sizes[1:]]
        self.m = [np.zeros_like(p) for p in self.parameters()]
        self.v = [np.zeros_like(p) for p in self.parameters()]
        self.t = 0

    def parameters(self):
        return [*self.w, *self.b]

    def forward(self, x):
        self.acts = [x]
        for k, (w, b) in enumerate(zip(self.w, self.b, strict=True)):
            x = x @ w + b
            if k < len(self.w) - 1:
                x = np.tanh(x)
            self.acts.append(x)
        return x

    def backward(self, grad):
        gw, gb = [], []
        for k in reversed(range(len(self.w))):
            if k < len(self.w) - 1:
                grad = grad * (1 - self.acts[k + 1] ** 2)
            gw.insert(0, self.acts[k].T @ grad)
            gb.insert(0, grad.sum(0))
            grad = grad @ self.w[k].T
        return [*gw, *gb]

    def adam(self, grads, lr, max_norm):
        scale = min(1.0, max_norm / (np.sqrt(sum((g**2).sum() for g in grads)) + 1e-8))
        self.t += 1
        for p, g, m, v in zip(self.parameters(), grads, self.m, self.v, strict=True):
            g = g * scale
            m += 0.1 * (g - m)
            v += 0.001 * (g**2 - v)
            p -= lr * (m / (1 - 0.9**self.t)) / (np.sqrt(v / (1 - 0.999**self.t)) + 1e-5)


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--num-envs", type=int, default=8)
    parser.add_argument("--num-steps", type=int, default=128)
    parser.add_argument("--total-timesteps", type=int, default=60_000)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    args = parser.parse_args()
    gamma, lam, clip, entropy, epochs, minibatches = 0.99, 0.95, 0.2, 0.01, 4, 4

    rng = np.random.default_rng(args.seed)
    envs = gym.make_vec("CartPole-v1", args.num_envs, vectorization_mode="sync")
    envs = rt.record(envs)  # the one line
    shape, actions = envs.single_observation_space.shape, envs.single_action_space.n
    actor = Net(rng, (*shape, 64, 64, actions), 0.01)
    critic = Net(rng, (*shape, 64, 64, 1), 1.0)

    n, t = args.num_envs, args.num_steps
    obs, _ = envs.reset(seed=args.seed)
    done, returns, running = np.zeros(n), [], np.zeros(n)
    for update in range(1, args.total_timesteps // (n * t) + 1):
        b_obs, b_act = np.zeros((t, n, *shape)), np.zeros((t, n), int)
        b_logp, b_rew, b_val = np.zeros((t, n)), np.zeros((t, n)), np.zeros((t, n))
        b_done, b_live = np.zeros((t, n)), np.zeros((t, n))
        for k in range(t):
            logp = log_softmax(actor.forward(obs))
            action = (np.exp(logp).cumsum(-1) > rng.random((n, 1))).argmax(-1)
            b_obs[k], b_act[k], b_logp[k] = obs, action, logp[np.arange(n), action]
            b_val[k], b_live[k] = critic.forward(obs)[:, 0], 1 - done  # the step after an end only resets
            obs, reward, terminated, truncated, _ = envs.step(action)
            running = np.where(done, 0.0, running + reward)
            done = (terminated | truncated).astype(float)
            returns += list(running[done > 0])
            b_rew[k], b_done[k] = reward, done

        advantage, last = np.zeros((t, n)), np.zeros(n)
        after = critic.forward(obs)[:, 0]
        for k in reversed(range(t)):
            delta = b_rew[k] + gamma * after * (1 - b_done[k]) - b_val[k]
            advantage[k] = last = delta + gamma * lam * (1 - b_done[k]) * last
            after = b_val[k]
        target = advantage + b_val

        keep = b_live.reshape(-1) > 0
        flat = [x.reshape(t * n, *x.shape[2:])[keep] for x in (b_obs, b_act, b_logp, advantage, target)]
        for _ in range(epochs):
            for idx in np.array_split(rng.permutation(len(flat[0])), minibatches):
                o, a, old, adv, tgt = (x[idx] for x in flat)
                adv, rows = (adv - adv.mean()) / (adv.std() + 1e-8), np.arange(len(idx))
                logp = log_softmax(actor.forward(o))
                p, ratio = np.exp(logp), np.exp(logp[rows, a] - old)
                inside = np.where(adv > 0, ratio < 1 + clip, ratio > 1 - clip)
                g_logp = -(adv * ratio * inside)[:, None] * (np.eye(actions)[a] - p)
                g_entropy = entropy * p * (logp - (p * logp).sum(-1, keepdims=True))
                actor.adam(actor.backward((g_logp + g_entropy) / len(idx)), args.learning_rate, 0.5)
                value = critic.forward(o)[:, 0]
                critic.adam(critic.backward(((value - tgt) / len(idx))[:, None]), args.learning_rate, 0.5)
        print(f"update {update} steps {update * n * t} return {np.mean(returns[-20:] or [0]):.1f}", flush=True)
    envs.close()


if __name__ == "__main__":
    main()
