"""The canonical columns of every table: one declaration from which Arrow schemas, docs and readers derive.

Rules:
1. Every table starts with the key columns, in this order; the writer fills the ones that are constant in a fragment.
2. A column's type is fixed per run. Types that depend on the environment (`type` None) come from the space descriptors.
3. Adding a column needs a new `since`; a reader of an older part fills it with null.
4. A column that is not `nullable` has a value in every row that a producer of its version sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import pyarrow as pa

from .payload_version import PAYLOAD_VERSION as PAYLOAD_VERSION

Encoding = Literal["dictionary", "delta", "values", "facts", "plain"]
"""How Parquet stores a column.

`dictionary`: few values. `delta`: integers that count. `values`: of a space, floats by BYTE_STREAM_SPLIT and single
integers by dictionary. `facts`: infos, integers by delta, floats by BYTE_STREAM_SPLIT, strings by dictionary.
"""

SKIPPED_TYPE: Final = pa.int32()
CONSTANT: Final = pa.dictionary(pa.int8(), pa.string())
FEW: Final = pa.dictionary(pa.int16(), pa.string())
TIME: Final = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Arrow type (None: from the environment's space), how it is stored, and what it means."""

    name: str
    type: pa.DataType | None
    encoding: Encoding
    meaning: str
    unit: str = ""
    statistics: bool = False
    since: int = 1
    nullable: bool = False


Nullable: Final = partial(Column, nullable=True)


KEYS: Final = (
    Column("run_id", CONSTANT, "dictionary", "ULID of the run"),
    Column("agent_id", CONSTANT, "dictionary", "agent within the environment; agent_0 where there is one"),
    Column("worker", pa.int32(), "delta", "number of the producer within the run"),
    Column("incarnation", pa.int32(), "delta", "life of that producer, from 0"),
    Column("fragment", pa.int64(), "delta", "sequence number of the fragment that brought the row, from 1"),
    Column("sub_env", pa.int32(), "delta", "sub-environment, unique in the run", statistics=True),
    Column("episode", pa.int64(), "delta", "episode, unique in the run", statistics=True),
)

STEPS: Final = (
    *KEYS,
    Column("t", pa.int32(), "delta", "index of the step in its episode, from 0", unit="steps", statistics=True),
    Nullable("time", TIME, "delta", "UTC time at which the step returned", unit="microseconds", statistics=True),
    Nullable("observation", None, "values", "what the policy saw before it acted; absent for images and frames=none"),
    Nullable("observation_digest", None, "plain", "of a picture that frames=replay does not store; absent otherwise"),
    Column("action", None, "values", "the action given to the environment"),
    Column("reward", pa.float64(), "dictionary", "reward returned by the step"),
    Column("terminated", pa.bool_(), "plain", "the environment reached a terminal state"),
    Column("truncated", pa.bool_(), "plain", "the episode was cut off"),
    Nullable("info", None, "facts", "struct of the info keys that keep one type; absent where there are none"),
    Nullable("info_json", pa.string(), "dictionary", "all other info keys of the step as a JSON object, or null"),
)

FRAMES: Final = (
    *KEYS,
    Column("t", pa.int32(), "delta", "the picture was seen before step t; t = length for the last", statistics=True),
    Column("kind", CONSTANT, "dictionary", "observation or render"),
    Column("format", CONSTANT, "dictionary", "dtype and shape of the picture, e.g. uint8[210,160,3]"),
    Column("data", pa.binary(), "plain", "raw bytes in C order"),
)

EPISODES: Final = (
    *KEYS,
    Column("env_id", CONSTANT, "dictionary", "id of the environment, as given"),
    Column("status", CONSTANT, "dictionary", "completed, aborted or lost"),
    Nullable("length", pa.int32(), "delta", "steps of the episode", unit="steps"),
    Nullable("skipped", None, "delta", "of them not recorded on purpose; only with keep_last or sample", unit="steps"),
    Nullable("return", pa.float64(), "dictionary", "sum of its rewards in order; null where unknown"),
    Column("terminated", pa.bool_(), "plain", "terminated of its last step"),
    Column("truncated", pa.bool_(), "plain", "truncated of its last step"),
    Nullable("seed", pa.int64(), "delta", "seed of the reset that it replays from; null: never seeded"),
    Nullable("seed_episode", pa.int64(), "delta", "the episode that began with that reset; null: never seeded"),
    Column("replay", CONSTANT, "dictionary", "alone, forward (from seed_episode), batch, or none"),
    Nullable("options", pa.string(), "dictionary", "options of its reset as JSON, or null"),
    Nullable("reset_info", pa.string(), "dictionary", "info of its reset as JSON, or null"),
    Nullable(
        "final_observation", None, "values", "observation after its last step; null where it is a frame or unknown"
    ),
    Nullable("final_observation_digest", None, "plain", "of the picture after its last step, as observation_digest"),
    Nullable("start_time", TIME, "delta", "UTC time of its reset", unit="microseconds"),
    Nullable("end_time", TIME, "delta", "UTC time of its end", unit="microseconds"),
)

LEDGER: Final = (
    *KEYS,
    Column("table_name", CONSTANT, "dictionary", "the table that lacks the rows"),
    Column("cause", CONSTANT, "dictionary", "why: a name of the table of causes (schema/causes.py)"),
    Nullable("of_worker", pa.int32(), "delta", "number of the producer whose rows they are; null: of several"),
    Nullable("of_incarnation", pa.int32(), "delta", "life of that producer"),
    Nullable("rows", pa.int64(), "delta", "how many rows; null: unknown"),
    Nullable("at_most", pa.int64(), "delta", "where rows is null: not more than so many; null: no bound is known"),
    Nullable("first_fragment", pa.int64(), "delta", "first fragment of that producer that lacks rows; null: unknown"),
    Nullable("last_fragment", pa.int64(), "delta", "last one, inclusive; null: unknown or never closed"),
    Nullable("first_step", pa.int64(), "delta", "steps of that producer before the first missing one; null: unknown"),
    Nullable("last_step", pa.int64(), "delta", "count of that producer's last missing step, inclusive; null: unknown"),
    Nullable(
        "first_time", TIME, "delta", "UTC time after which the rows were made; null: unknown", unit="microseconds"
    ),
    Column("last_time", TIME, "delta", "UTC time before which the rows were made", unit="microseconds"),
    Nullable("file", pa.string(), "dictionary", "the part that held the rows, relative to the run; null: none did"),
    Column("time", TIME, "delta", "UTC time at which the loss was declared", unit="microseconds"),
)

NORMALIZATION: Final = (
    *KEYS,
    Nullable("t", pa.int32(), "delta", "steps of the episode before the sample; null: between two episodes", "steps"),
    Column("time", TIME, "delta", "UTC time of the sample", unit="microseconds"),
    Column("moment", CONSTANT, "dictionary", "episode (after its reset), fragment (after its first step), or close"),
    Column("target", CONSTANT, "dictionary", "what is normalized: observation or reward"),
    Column("wrapper", CONSTANT, "dictionary", "class of the wrapper that keeps the statistics"),
    Column("place", pa.int32(), "delta", "which of them around the environment, 0 the outermost"),
    Nullable("entry", pa.string(), "dictionary", "entry of a Dict observation; null: all of the observation"),
    Column("envs", pa.int32(), "delta", "sub-environments that share the statistics"),
    Column("shape", pa.list_(pa.int32()), "plain", "shape of mean and var; empty for one number"),
    Column("mean", pa.list_(pa.float64()), "values", "running mean in C order"),
    Column("var", pa.list_(pa.float64()), "values", "running variance in C order"),
    Column("count", pa.float64(), "plain", "how many values they were taken of, as the wrapper counts"),
    Nullable("epsilon", pa.float64(), "dictionary", "added to the variance before its root is taken"),
    Column("updating", pa.bool_(), "plain", "whether the statistics go on, or are frozen"),
    Nullable("space_signature", pa.string(), "dictionary", "signature of the normalized observation space"),
    Nullable("dtype", pa.string(), "dictionary", "dtype of mean and var in the wrapper; a replay goes on with it"),
    Nullable(
        "discounted",
        pa.list_(pa.float64()),
        "values",
        "discounted sum of rewards that a wrapper of one environment carries on; null: it carries none",
    ),
)

METRICS: Final = (
    *KEYS,
    Column("time", TIME, "delta", "UTC time of the sample", unit="microseconds"),
    Column("source", CONSTANT, "dictionary", "producer (then of_worker says which), hub or writer"),
    Nullable("of_worker", pa.int32(), "delta", "number of the producer; null for hub and writer"),
    Nullable("of_incarnation", pa.int32(), "delta", "life of the producer, or of the writer; null for the hub"),
    Column("host", CONSTANT, "dictionary", "name of its machine"),
    Nullable(
        "steps", pa.int64(), "delta", "producer: steps since it started; writer: steps made durable", unit="steps"
    ),
    Nullable("queue_depth", pa.int64(), "delta", "fragments not yet durable: sent by the producer, held by the writer"),
    Nullable("inflight_bytes", pa.int64(), "delta", "bytes of those fragments; hub: of all producers", unit="bytes"),
    Nullable("flush_s", pa.float64(), "plain", "latency of the last flush: of a fragment, of a commit", unit="seconds"),
    Nullable("lag_s", pa.float64(), "plain", "age of its newest row that became durable, when it did", unit="seconds"),
    Nullable("waited_s", pa.float64(), "plain", "producer: stood still for room so far", unit="seconds"),
    Nullable("resent", pa.int64(), "delta", "producer: fragments sent again so far"),
    Nullable("commits", pa.int64(), "delta", "writer: commits so far"),
    Nullable("memory_bytes", pa.int64(), "delta", "resident memory of its process", unit="bytes"),
    Nullable("cpu_s", pa.float64(), "plain", "CPU time of its process so far", unit="seconds"),
)

LOGS: Final = (
    *KEYS,
    Column("time", TIME, "delta", "UTC time at which it was said", unit="microseconds", statistics=True),
    Column("level", CONSTANT, "dictionary", "debug, info, warning or error"),
    Column("severity", pa.int16(), "delta", "10, 20, 30 or 40", statistics=True),
    Column("code", FEW, "dictionary", "LOG and digits, from the catalogue (log-codes.md)"),
    Column("component", FEW, "dictionary", "who says it, from the catalogue"),
    Column("subcomponent", FEW, "dictionary", "which part of it, from the catalogue"),
    Column("message", pa.string(), "plain", "what is said"),
    Column("data", pa.string(), "plain", "the record's data as a JSON object, or null"),
    Column("origin", CONSTANT, "dictionary", "record, or the stdout or stderr of an external program"),
    Column("env_id", FEW, "dictionary", "id of the environment, as given"),
    Column("host", FEW, "dictionary", "name of the machine"),
    Column("pid", pa.int32(), "delta", "process that said it"),
)
"""`worker`, `incarnation`, `sub_env` and `episode` are null where a record is not about one; `fragment` counts within
the process that said it."""

CONTROL: Final = (
    *KEYS,
    Column("time", TIME, "delta", "UTC time of the transition", unit="microseconds"),
    Column("viewer", FEW, "dictionary", "id of the viewer: life of its gateway and a number, .0 the gateway itself"),
    Column("number", pa.int32(), "delta", "of the transition within (viewer, sub_env), from 1: the three are its key"),
    Column("transition", CONSTANT, "dictionary", "STARVED (odd numbers) or RESUMED (even ones)"),
)

TABLES: Final[dict[str, tuple[Column, ...]]] = {
    "frames": FRAMES,
    "steps": STEPS,
    "logs": LOGS,
    "control": CONTROL,
    "ledger": LEDGER,
    "normalization": NORMALIZATION,
    "metrics": METRICS,
    "episodes": EPISODES,
}
"""In the order in which a commit publishes them: an episode's row never comes before its rows in the others."""
ABOUT_THE_RUN: Final = frozenset({"metrics", "control", "logs"})
"""Tables that say how a run went, what was said and who watched, and not what happened in its environments."""


def table_schema(
    table: str,
    *,
    observation: pa.Field | None = None,
    action: pa.Field | None = None,
    info: pa.DataType | None = None,
    digests: bool = False,
    skips: bool = False,
) -> pa.Schema:
    """The Arrow schema of one table of a run.

    Args:
        table: a key of `TABLES`.
        observation: field of the observation space (its metadata is kept), or None where it is not a column.
        action: field of the action space, needed for steps.
        info: struct type of the typed info keys, or None where there are none.
        digests: whether digests stand where observations would.
        skips: whether episodes say how many steps were left out.
    """
    from_space = {"observation": observation, "final_observation": observation, "action": action}
    digest = pa.field("digest", pa.uint64()) if digests else None
    from_space |= {"observation_digest": digest, "final_observation_digest": digest}
    from_space["skipped"] = pa.field("skipped", SKIPPED_TYPE) if skips else None
    fields: list[pa.Field] = []
    for column in TABLES[table]:
        if column.type is not None:
            fields.append(pa.field(column.name, column.type))
        elif column.name == "info":
            if info is not None:
                fields.append(pa.field("info", info))
        elif (field := from_space[column.name]) is not None:
            fields.append(field.with_name(column.name))
    return pa.schema(fields)
