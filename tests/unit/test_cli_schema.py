"""`rolltape schema dump` and `adapters`: facts for people, the same as JSON for programs."""

import json

import pytest

from rolltape.schema.errors import AdapterError
from rolltape.scripts.cli import main
from rolltape.scripts.cli.schema_dump import schema_of


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    try:
        main(["schema", *arguments])
    except SystemExit as end:
        assert end.code == 0
    return capsys.readouterr().out


def test_dump_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    lines = dict(
        line.strip().split(None, 1) for line in printed(capsys, "dump", "Taxi-v4").splitlines() if line.strip()
    )
    assert lines["environment"].strip() == "Taxi-v4"
    assert lines["adapter"].strip() == "taxi, version 1, capability 1"
    assert lines["state.passenger"].startswith("int64: where the passenger waits")
    assert lines["wrappers"].strip() == "TimeLimit, OrderEnforcing, PassiveEnvChecker"


def test_dump_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, "dump", "FrozenLake-v1", "-k", "map_name=8x8", "--json"))
    assert found["spaces"]["observation"]["descriptor"]["n"] == 64
    assert found["spaces"]["observation"]["signature"].startswith("sp1-")
    assert found["tables"]["steps"]["action"] == "int64"
    assert found["adapter"]["render"]["kinds"] == {"grid": 1}
    assert found["adapter"]["space"]["action_names"] == ["left", "down", "right", "up"]
    assert found["observation_frames"] is None


def test_another_adapter_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema_of("FrozenLake-v1", {}, "generic")["adapter"]["name"] == "generic"
    with pytest.raises(AdapterError, match=r"there is no 'frozen_lak'. Did you mean 'frozen_lake'\?"):
        schema_of("FrozenLake-v1", {}, "frozen_lak")


def test_adapters_are_listed_with_the_generic_one_last(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(printed(capsys, "adapters", "--json"))
    assert [row["adapter"] for row in rows if row["from"] == "rolltape"][-1] == "generic"
    assert {"frozen_lake", "atari", "minigrid"} <= {row["adapter"] for row in rows}
    assert printed(capsys, "adapters").splitlines()[0].split()[:2] == ["adapter", "version"]
