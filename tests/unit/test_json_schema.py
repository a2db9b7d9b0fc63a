"""The exported JSON Schemas say what the table says, and what is really recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rolltape.schema.columns import PAYLOAD_VERSION, TABLES
from rolltape.schema.json_schema import row_schema, schema_bundle
from rolltape.schema.payload_v0 import KEYS_V0, check_step
from rolltape.storage.arrays import rows_to_python
from tests.command_line import exit_code
from tests.lakes import record

STEP: dict[str, Any] = {
    "episode_id": "ep-1",
    "step_index": 0,
    "action": 1,
    "observation": [0.5, 1],
    "reward": 1.0,
    "terminated": False,
    "truncated": False,
}
BAD_STEPS = [
    {**STEP, "step_index": -1},
    {**STEP, "step_index": "0"},
    {**STEP, "step_index": 0.5},
    {**STEP, "episode_id": None},
    {**STEP, "reward": "1"},
    {**STEP, "reward": None},
    {**STEP, "reward": True},
    {**STEP, "terminated": 1},
    {**STEP, "info": []},
    {**STEP, "payload_version": 1},
    {**STEP, "agent_id": 1.5},
    *({k: v for k, v in STEP.items() if k != missing} for missing in STEP),
]
GOOD_STEPS = [
    STEP,
    {**STEP, "action": None, "reward": None},
    {**STEP, "step_index": 3.0, "episode_id": 7, "timestamp": "2024-01-01T00:00:00Z", "info": None, "mine": {"a": 1}},
    {**STEP, "agent_id": None, "render_payload": [[1]], "timestamp": 1.5, "payload_version": 0},
]


def checker(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_every_record_has_a_schema() -> None:
    bundle = schema_bundle()
    assert len(bundle) == len(TABLES) + 1
    assert {"step.v0", "step.v1", "episode.v1", "frame.v1", "loss.v1"} <= bundle.keys()
    for name, schema in bundle.items():
        checker(schema)
        record, version = name.split(".v")
        assert schema["$id"] == f"urn:rolltape:{record}:{version}"


def test_the_schema_has_the_columns_of_the_table() -> None:
    for table, columns in TABLES.items():
        said = row_schema(table)
        assert list(said["properties"]) == [column.name for column in columns]
        assert all(column.meaning == said["properties"][column.name]["description"] for column in columns)
    assert list(schema_bundle()["step.v0"]["properties"]) == list(KEYS_V0)


@pytest.mark.parametrize("table", ["steps", "episodes", "frames"])
def test_recorded_rows_are_valid(table: str, tmp_path: Path) -> None:
    run = record(tmp_path / "lake", commits=2, frames=16)
    parts = sorted(run.table(table).glob("*.parquet"))
    rows = [row for part in parts for row in rows_to_python(pq.read_table(part))]
    check = checker(row_schema(table))
    assert rows
    for row in rows:
        check.validate(
            json.loads(json.dumps(row, default=lambda v: v.hex() if isinstance(v, bytes) else v.isoformat()))
        )


def test_what_is_not_in_the_table_is_not_valid() -> None:
    check = checker(row_schema("ledger"))
    assert not check.is_valid({"nothing": 1})
    types = {column.name: column.type for column in TABLES["ledger"] if not column.nullable}
    row = {name: "x" if not pa.types.is_integer(kind) else 1 for name, kind in types.items()}
    assert check.is_valid(row)
    assert not check.is_valid({**row, "rows": "many"})
    assert not check.is_valid({**row, "worker": 1 << 31})
    assert not check.is_valid({name: value for name, value in row.items() if name != "cause"})


@pytest.mark.parametrize("step", BAD_STEPS)
def test_a_wrong_v0_step_is_refused_by_both(step: dict[str, Any]) -> None:
    assert check_step(step) is not None
    assert not checker(schema_bundle()["step.v0"]).is_valid(step)


@pytest.mark.parametrize("step", GOOD_STEPS)
def test_a_right_v0_step_is_taken_by_both(step: dict[str, Any]) -> None:
    assert check_step(step) is None
    checker(schema_bundle()["step.v0"]).validate(step)


def test_export_writes_a_file_a_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("schema", "export", "--out", str(tmp_path / "deep" / "er")) == 0
    written = {Path(line) for line in capsys.readouterr().out.splitlines()}
    assert written == set((tmp_path / "deep" / "er").iterdir())
    assert (
        json.loads((tmp_path / "deep/er" / f"step.v{PAYLOAD_VERSION}.json").read_text()) == schema_bundle()["step.v1"]
    )


def test_export_prints_the_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("schema", "export") == 0
    assert json.loads(capsys.readouterr().out) == schema_bundle()


def test_export_into_what_is_no_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert exit_code("schema", "export", "--out", str(tmp_path / "file")) == 1
    assert "Cannot write the schemas into" in capsys.readouterr().err
