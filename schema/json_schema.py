"""The payload as JSON Schema (draft 2020-12), derived from the tables of `columns` and `payload_v0`.

The records of version 1 are rows as `rolltape sql --format json` and `Relation.to_dicts` give them, as JSON: times as
ISO 8601 texts, bytes as hexadecimal digits, NaN and infinities as Python's json writes them.
"""

from __future__ import annotations

from typing import Any, Final

import pyarrow as pa

from .columns import PAYLOAD_VERSION, TABLES, Column
from .payload_v0 import KEYS_V0, LegacyKey

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
RECORDS: Final = {"steps": "step", "episodes": "episode", "frames": "frame", "ledger": "loss", "metrics": "metric"}
"""What a row of a table is called, where it is not the name of the table."""


def schema_bundle() -> dict[str, dict[str, Any]]:
    """Every JSON Schema by the name of its file without `.json`: `step.v0`, `step.v1`, `episode.v1`, …"""
    bundle = {"step.v0": _document("step", 0, step_v0_schema())}
    for table in TABLES:
        record = RECORDS.get(table, table)
        bundle[f"{record}.v{PAYLOAD_VERSION}"] = _document(record, PAYLOAD_VERSION, row_schema(table))
    return bundle


def row_schema(table: str) -> dict[str, Any]:
    """The JSON Schema of one row of a table, without its head. Raises KeyError for an unknown table."""
    columns = TABLES[table]
    return {
        "type": "object",
        "properties": {column.name: _property(column) for column in columns},
        "required": [column.name for column in columns if not column.nullable and column.since == 1],
        "additionalProperties": False,
    }


def step_v0_schema() -> dict[str, Any]:
    """The JSON Schema of a step of version 0; other keys are allowed, and kept."""
    return {
        "type": "object",
        "properties": {key.name: _legacy(key) for key in KEYS_V0.values()},
        "required": [key.name for key in KEYS_V0.values() if key.required],
        "additionalProperties": True,
        "if": {"properties": {"action": {"type": "null"}}, "required": ["action"]},
        "else": {"properties": {"reward": {"type": "number"}}},
    }


def _document(record: str, version: int, body: dict[str, Any]) -> dict[str, Any]:
    return {
        "$schema": DIALECT,
        "$id": f"urn:rolltape:{record}:{version}",
        "title": f"Rolltape {record}, payload version {version}",
        **body,
    }


def _property(column: Column) -> dict[str, Any]:
    said: dict[str, Any] = {"description": column.meaning}
    if column.unit:
        said["x-unit"] = column.unit
    said["x-since"] = column.since
    if column.type is None:
        return said  # of the environment's space: anything
    kind = _type(column.type)
    if column.nullable:
        kind["type"] = [kind["type"], "null"]
    return kind | said


def _type(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_dictionary(kind):
        return _type(kind.value_type)
    if pa.types.is_boolean(kind):
        return {"type": "boolean"}
    if pa.types.is_integer(kind):
        bits = kind.bit_width - pa.types.is_signed_integer(kind)
        return {
            "type": "integer",
            "minimum": -(1 << bits) * pa.types.is_signed_integer(kind),
            "maximum": (1 << bits) - 1,
        }
    if pa.types.is_floating(kind):
        return {"type": "number"}
    if pa.types.is_timestamp(kind):
        return {"type": "string", "format": "date-time"}
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return {"type": "string", "pattern": "^([0-9a-f]{2})*$", "contentEncoding": "base16"}
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        return {"type": "array", "items": _type(kind.value_type)}
    return {"type": "string"}


def _legacy(key: LegacyKey) -> dict[str, Any]:
    kinds = list(key.types)
    said: dict[str, Any] = {} if len(kinds) == 6 else {"type": kinds[0] if len(kinds) == 1 else kinds}
    if key.name == "reward":
        said["type"] = ["number", "null"]  # null in the line of a reset
    if key.name == "step_index":
        said |= {"minimum": 0, "maximum": (1 << 31) - 2}
    if key.name == "payload_version":
        said = {"const": 0}
    said |= {"description": key.meaning, "x-becomes": key.becomes}
    if key.unit:
        said["x-unit"] = key.unit
    return said
