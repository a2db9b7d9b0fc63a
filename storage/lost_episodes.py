"""Episodes that began and whose row never became durable: which these are, and the rows that say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from rolltape.schema.columns import table_schema
from rolltape.schema.messages import ProducerKey, Watermark

from .layout import RunFolder, list_parts
from .ledger import rows_batch
from .pages import LastWords
from .part_files import open_part, part_errors
from .run_info import leaves_out

INDEX_BLOCK = 1 << 20
"""Where a page was lost with its node, episode indices go on at the next multiple of this."""


@dataclass(frozen=True, slots=True)
class LostEpisode:
    """An episode that began and whose row never became durable; `length` None: unknown."""

    sub_env: int
    episode: int
    length: int | None
    of: ProducerKey


def lost_episodes(
    run: RunFolder,
    info: Mapping[str, Any],
    pages: Mapping[ProducerKey, LastWords],
    watermarks: Mapping[ProducerKey, Watermark],
) -> list[LostEpisode]:
    """The episodes that pages began and that have no row. Raises CorruptRecording, naming the part."""
    known = _episode_rows(run)
    stride = int(info.get("episode_stride") or 1)
    sizes = _sizes(info, pages)
    found: list[LostEpisode] = []
    offset = 0
    for producer in range(max((key.producer for key in (*pages, *watermarks)), default=-1) + 1):
        n = sizes.get(producer)
        if n is None:  # its page is lost, and with it how many sub-environments those after it count from
            break
        lives = [key.incarnation for key in (*pages, *watermarks) if key.producer == producer]
        begun = np.zeros(n, np.int64)
        for life in range(max(lives, default=-1) + 1):
            key = ProducerKey(producer, life)
            page = pages.get(key)
            if page is None or len(page.episode_index) != n or _is_implausible(page, begun):
                begun = _after_lost_page(known, key, offset, n, stride, begun)
                continue
            for place in range(n):
                newest, steps = int(page.episode_index[place]), int(page.episode_steps[place])
                numbers = offset + place + stride * np.arange(begun[place], newest + 1)
                for number in numbers[~np.isin(numbers, known["episode"])].tolist():
                    open_one = number == offset + place + stride * newest and steps >= 0
                    found.append(LostEpisode(offset + place, number, steps if open_one else None, key))
            begun = np.maximum(begun, page.episode_index + 1)
        offset += n
    return found


def lost_rows(
    run: RunFolder,
    info: Mapping[str, Any],
    lost: Sequence[LostEpisode],
    key: ProducerKey,
    fragment: int,
    now_us: int,
) -> pa.RecordBatch:
    """Rows of these episodes with the status `lost`, which fragment `fragment` of `key` brings at `now_us` (UTC)."""
    n = len(lost)
    given: dict[str, list[Any]] = {
        "run_id": [run.run_id] * n,
        "agent_id": ["agent_0"] * n,
        "worker": [key.producer] * n,
        "incarnation": [key.incarnation] * n,
        "fragment": [fragment] * n,
        "sub_env": [one.sub_env for one in lost],
        "episode": [one.episode for one in lost],
        "env_id": [str(info.get("env_id"))] * n,
        "status": ["lost"] * n,
        "length": [one.length for one in lost],
        "terminated": [False] * n,
        "truncated": [False] * n,
        "replay": ["none"] * n,
        "start_time": [now_us] * n,
        "end_time": [now_us] * n,
    }
    schema = _episodes_schema(run, info)
    known = [field for field in schema if field.name in given]
    some = rows_batch(pa.schema(known), given)
    columns = [some.column(f.name) if f.name in given else pa.nulls(n, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _sizes(info: Mapping[str, Any], pages: Mapping[ProducerKey, LastWords]) -> dict[int, int]:
    """Sub-environments of each producer: as its pages say, else as a fleet divides them."""
    sizes = {key.producer: len(page.episode_index) for key, page in pages.items()}
    env = info.get("env") or {}
    envs, workers = info.get("num_envs"), info.get("workers")
    if env.get("kind") == "fleet" and isinstance(envs, int) and isinstance(workers, int) and workers:
        share, rest = divmod(envs, workers)
        sizes = {number: share + (number < rest) for number in range(workers)} | sizes
    return sizes


def _episode_rows(run: RunFolder) -> dict[str, np.ndarray]:
    names = ["worker", "incarnation", "sub_env", "episode"]
    found: dict[str, list[np.ndarray]] = {name: [np.empty(0, np.int64)] for name in names}
    for path in list_parts(run, "episodes"):
        with part_errors(str(path)), open_part(str(path)) as file:
            table = file.read(columns=names)
        for name in names:
            found[name].append(table[name].to_numpy().astype(np.int64))
    return {name: np.concatenate(values) for name, values in found.items()}


def _is_implausible(page: LastWords, begun: np.ndarray) -> bool:
    """Whether it says that more episodes began than it ended and stepped: it is damaged, and as good as lost."""
    return bool((page.episode_index + 1 - begun > page.episodes + page.steps + INDEX_BLOCK).any())


def _after_lost_page(
    known: Mapping[str, np.ndarray], key: ProducerKey, offset: int, n: int, stride: int, begun: np.ndarray
) -> np.ndarray:
    """With which indices the next life began (see actors/obituary.py)."""
    place = known["sub_env"] - offset
    mine = (place >= 0) & (place < n) & (known["worker"] == key.producer) & (known["incarnation"] <= key.incarnation)
    last = np.full(n, -1, np.int64)
    np.maximum.at(last, place[mine], known["episode"][mine] // stride)
    return (np.maximum(last, begun) // INDEX_BLOCK + 1) * INDEX_BLOCK


def _episodes_schema(run: RunFolder, info: Mapping[str, Any]) -> pa.Schema:
    parts = list_parts(run, "episodes")
    if parts:
        with open_part(str(parts[-1])) as file:
            return file.schema_arrow
    from rolltape.schema.frame_layout import is_image_space
    from rolltape.schema.spaces import SpaceCodec, space_from_descriptor

    descriptor = info["spaces"]["observation"]
    if is_image_space(space_from_descriptor(descriptor)):
        return table_schema("episodes", skips=leaves_out(info))
    return table_schema("episodes", observation=SpaceCodec(descriptor).field("observation"), skips=leaves_out(info))
