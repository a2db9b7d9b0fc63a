"""What has to be replayed together is given to one job."""

from __future__ import annotations

from typing import Any

from rolltape.actors.replay import _shares


def row(episode: int, replay: str, seed_episode: int, sub_env: int) -> dict[str, Any]:
    return {"episode": episode, "sub_env": sub_env, "replay": replay, "seed_episode": seed_episode, "length": 10}


def test_a_seeded_first_episode_and_its_chain_are_one_job() -> None:
    wanted = [row(0, "alone", 0, 0), row(1, "alone", 1, 1)]
    wanted += [row(n, "forward", n % 2, n % 2) for n in range(2, 8)]
    wanted += [row(n, "alone", n, n % 2) for n in (8, 9)]
    shares = [{r["episode"] for r in share} for share in _shares(wanted, 2)]
    assert shares == [{0, 2, 4, 6}, {1, 3, 5, 7}, {8, 9}]
