"""Files of payload version 0: every good line is in the run, every bad one is counted with its line and field."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rolltape.actors import legacy_import, legacy_rows
from rolltape.actors.legacy_import import ImportReport, import_v0
from rolltape.schema.errors import ConfigError
from rolltape.schema.info_json import decode_info
from rolltape.schema.space_inference import SpaceInference
from rolltape.storage.lake import open_lake
from rolltape.storage.layout import RunFolder
from rolltape.storage.markers import merged
from rolltape.storage.runs import Run
from rolltape.storage.summaries import newest_markers
from rolltape.storage.verify import verify_run
from tests.command_line import exit_code

QUICK: dict[str, Any] = {"commit": {"durability": "process"}}


def line(index: int = 0, **values: Any) -> dict[str, Any]:
    step = {
        "episode_id": "ep-1",
        "step_index": index,
        "action": 1,
        "observation": [float(index), 0.5],
        "reward": 1.0,
        "terminated": False,
        "truncated": False,
    }
    return {**step, **values}


def imported(tmp_path: Path, lines: list[Any], **options: Any) -> tuple[ImportReport, Run]:
    file = tmp_path / "steps.jsonl"
    file.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    report = import_v0(file, tmp_path / "lake", **{**QUICK, **options})
    assert report.lines == report.steps + report.resets + report.refused
    return report, open_lake(tmp_path / "lake").run(report.run_id)


def counts(report: ImportReport) -> dict[tuple[str, str], int]:
    return {(code, field): count for code, field, count in report.mismatches}


def steps(run: Run) -> list[dict[str, Any]]:
    return run.steps().order("episode", "t").to_dicts()


def test_an_episode_with_its_reset_is_whole(tmp_path: Path) -> None:
    reset = line(0, action=None, reward=None, observation=[9.0, 9.0], info={"start": True})
    report, run = imported(tmp_path, [reset, line(1), line(2, terminated=True)])
    assert (report.steps, report.resets, report.refused, report.lossy) == (2, 1, 0, False)
    assert [row["observation"] for row in steps(run)] == [[9.0, 9.0], [1.0, 0.5]]
    (episode,) = run.episodes().to_dicts()
    assert (episode["length"], episode["return"], episode["status"]) == (2, 2.0, "completed")
    assert episode["final_observation"] == [2.0, 0.5]
    assert decode_info(episode["reset_info"]) == {"episode_id": "ep-1", "start": True}
    assert run.episode(0).observations.tolist() == [[9.0, 9.0], [1.0, 0.5], [2.0, 0.5]]
    assert (run.status, run.info["env"]["kind"], run.info["imported"]["payload_version"]) == (
        "completed",
        "import-v0",
        0,
    )


def test_a_reset_may_have_the_index_of_the_first_step(tmp_path: Path) -> None:
    report, run = imported(tmp_path, [line(0, action=None), line(0), line(1)])
    assert report.refused == 0
    assert [row["t"] for row in steps(run)] == [0, 1]


def test_without_a_reset_the_first_observation_is_unknown(tmp_path: Path) -> None:
    _, run = imported(tmp_path, [line(0), line(1, truncated=True)])
    assert [row["observation"] for row in steps(run)] == [None, [0.0, 0.5]]
    assert run.episodes().to_dicts()[0]["final_observation"] == [1.0, 0.5]


def test_observations_seen_before_the_action(tmp_path: Path) -> None:
    _, run = imported(tmp_path, [line(0), line(1, terminated=True)], observation="before")
    assert [row["observation"] for row in steps(run)] == [[0.0, 0.5], [1.0, 0.5]]
    assert run.episodes().to_dicts()[0]["final_observation"] is None


def test_episodes_that_are_interleaved_or_never_end(tmp_path: Path) -> None:
    lines = [line(i, episode_id=e) for i in range(3) for e in ("a", 7, "b")] + [line(3, episode_id=7, terminated=True)]
    report, run = imported(tmp_path, lines)
    found = run.episodes().order("episode").to_dicts()
    assert [(row["length"], row["status"]) for row in found] == [(3, "aborted"), (4, "completed"), (3, "aborted")]
    assert [decode_info(row["reset_info"])["episode_id"] for row in found] == ["a", "7", "b"]
    assert (report.episodes, report.completed) == (3, 1)


def test_agents_are_told_apart(tmp_path: Path) -> None:
    _, run = imported(tmp_path, [line(0, agent_id="red"), line(0, agent_id=2), line(0, episode_id="x", agent_id=None)])
    assert {row["agent_id"] for row in steps(run)} == {"red", "2", "agent_0"}
    assert run.lake.sql("select count(distinct episode) from steps").fetchall() == [(3,)]


def test_too_many_agents_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legacy_rows, "MOST_AGENTS", 2)
    report, _ = imported(tmp_path, [line(0, agent_id=i) for i in range(4)])
    assert counts(report) == {("key_type", "agent_id"): 2}


def test_an_id_that_comes_again_after_its_end_is_another_episode(tmp_path: Path) -> None:
    report, run = imported(tmp_path, [line(0, terminated=True), line(0), line(1, truncated=True)])
    assert [row["length"] for row in run.episodes().order("episode").to_dicts()] == [1, 2]
    assert report.refused == 0


BAD = [
    ("not json", "line_unreadable", "line"),
    ("[1, 2]", "line_unreadable", "line"),
    ("\x00\x01", "line_unreadable", "line"),
    ('{"a": ' * 100_000, "line_unreadable", "line"),
    ({k: v for k, v in line(1).items() if k != "reward"}, "key_missing", "reward"),
    (line(1, terminated="yes"), "key_type", "terminated"),
    (line(1, timestamp="yesterday"), "key_type", "timestamp"),
    (line(1, timestamp=1e300), "key_type", "timestamp"),
    (line(1 << 40), "key_type", "step_index"),
    (line(1, payload_version=1), "version_wrong", "payload_version"),
    (line(0), "step_order", "step_index"),
    (line(1, action=None), "key_type", "action"),
]


@pytest.mark.parametrize(("bad", "code", "field"), BAD, ids=[f"{code}-{n}" for n, (_, code, _) in enumerate(BAD)])
def test_a_bad_line_is_named_and_the_others_are_taken(bad: Any, code: str, field: str, tmp_path: Path) -> None:
    report, run = imported(tmp_path, [line(0), bad, "", line(1, terminated=True)])
    assert (report.lossy, report.refused, report.steps) == (True, 1, 2)
    assert [(gap.cause, gap.rows, gap.stage) for gap in run.gaps()] == [("refused", 1, "lost")]
    assert not verify_run(run.folder).of("damage")
    assert counts(report) == {(code, field): 1}
    assert [(problem.line, problem.field) for problem in report.problems] == [(2, field)]
    assert report.problems[0].message.startswith(field)
    assert run.episodes().to_dicts()[0]["length"] == 2


def test_values_that_their_space_cannot_hold(tmp_path: Path) -> None:
    good = [0, 0, 0, 0]
    bad = [
        line(0, observation=[0.0]),
        line(0, observation={"x": 1}),
        line(0, observation=good, action=1.5),
        line(0, observation=good, action="left"),
    ]
    report, run = imported(tmp_path, [*bad, line(0, observation=good, terminated=True)], env="CartPole-v1")
    assert counts(report) == {("value_unfit", "observation"): 2, ("value_unfit", "action"): 2}
    assert "expected float32[4], found [0.0]" in report.problems[0].message
    assert (report.steps, run.env_id) == (1, "CartPole-v1")
    assert run.info["env"]["source"] == "CartPole-v1"


@pytest.mark.parametrize(("validation", "steps", "refused"), [("off", 3, 0), ("warn", 3, 0), ("enforce", 0, 3)])
def test_values_outside_their_spaces(validation: str, steps: int, refused: int, tmp_path: Path) -> None:
    good = [0.0, 0.0, 0.0, 0.0]
    lines = [line(0, observation=[9.0, 0, 0, 0]), line(0, observation=good, action=5, episode_id="b")]
    lines.append(line(0, observation=good, reward=float("nan"), episode_id="c"))
    report, _ = imported(tmp_path, lines, env="CartPole-v1", validation=validation)
    assert (report.steps, report.refused) == (steps, refused)
    seen = {("observation_outside", "observation"): 1, ("action_outside", "action"): 1, ("reward_nan", "reward"): 1}
    assert counts(report) == ({} if validation == "off" else seen)


def test_a_jump_leaves_a_hole_that_is_counted(tmp_path: Path) -> None:
    report, run = imported(tmp_path, [line(0), line(4, terminated=True)])
    assert counts(report) == {("step_gap", "step_index"): 3}
    assert [(row["t"], row["observation"]) for row in steps(run)] == [(0, None), (4, None)]
    assert run.episodes().to_dicts()[0]["length"] == 5
    assert not report.lossy, "every line of the file is there"


def test_what_has_no_column_is_in_info(tmp_path: Path) -> None:
    extra = line(0, info={"x": 1, "mine": 2}, mine=[1], render_payload={"grid": [[0, 1]]}, terminated=True)
    report, run = imported(tmp_path, [extra])
    (row,) = steps(run)
    info = {k: v for k, v in (row["info"] or {}).items() if v is not None} | decode_info(row["info_json"])
    assert info == {"x": 1, "mine": 2, "v0.mine": [1], "render_payload": {"grid": [[0, 1]]}}
    assert counts(report) == {("key_unknown", "mine"): 1}


def test_times_are_utc(tmp_path: Path) -> None:
    said = [1_700_000_000.25, "2023-11-14T22:13:20.25", "2023-11-15T00:13:20.25+02:00"]
    _, run = imported(tmp_path, [line(i, timestamp=when) for i, when in enumerate(said)] + [line(3)])
    times = [row["time"] and row["time"].isoformat() for row in steps(run)]
    assert times == ["2023-11-14T22:13:20.250000+00:00"] * 3 + [None]


def test_the_recording_counts_versions_and_mismatches(tmp_path: Path) -> None:
    report, run = imported(tmp_path, [line(0), "broken", line(1)])
    (mark,) = merged(marker.watermarks for marker in newest_markers(run.folder)).values()
    assert (mark.payload_version, mark.steps, mark.mismatches) == (0, 2, report.mismatches)
    assert run.info["payload_version"] == 1, "what is stored"


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fragments and commits follow each other, open episodes and lines have a bound."""
    monkeypatch.setattr(legacy_import, "COMMIT_BYTES", 100_000)
    monkeypatch.setattr(legacy_rows, "MOST_OPEN", 5)
    monkeypatch.setattr(legacy_import, "LONGEST_LINE", 1000)
    lines: list[Any] = [line(0, episode_id=i, info={"text": "x" * 500}) for i in range(1000)]
    lines += [line(0, episode_id="long", info={"text": "x" * 5000}), line(0, episode_id="last")]
    report, run = imported(tmp_path, lines, fragment={"max_bytes": 64 << 10})
    assert counts(report) == {("line_unreadable", "line"): 1}
    assert report.problems[0].line == 1001
    assert (report.steps, report.episodes) == (1001, 1001)
    assert len(list(run.folder.commits.iterdir())) > 3
    assert {row["status"] for row in run.episodes().to_dicts()} == {"aborted"}


def test_a_packed_file(tmp_path: Path) -> None:
    file = tmp_path / "steps.jsonl.gz"
    file.write_bytes(gzip.compress((json.dumps(line(0, terminated=True)) + "\n").encode()))
    seen: list[tuple[int, int]] = []
    report = import_v0(file, tmp_path / "lake", progress=lambda done, whole: seen.append((done, whole)), **QUICK)
    assert report.steps == 1
    assert seen[-1] == (2 * file.stat().st_size, 2 * file.stat().st_size)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ConfigError, match="Cannot read"):
        import_v0(file, tmp_path / "lake", **QUICK)


def test_a_run_that_fails_on_its_way_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(legacy_import._Sent, "commit", broken)
    with pytest.raises(KeyboardInterrupt):
        imported(tmp_path, [line(0)])
    (run,) = (tmp_path / "lake" / "runs").iterdir()
    assert json.loads(RunFolder(run).end_json.read_text())["status"] == "stopped"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"observation": "during"}, "observation: expected 'after' or 'before'"),
        ({"oldest_payload": 1}, "oldest_payload: a run that takes no version 0"),
        ({"frames": "render"}, "frames.policy: a file of version 0 has no pictures"),
        ({"nonsense": 1}, "nonsense: unknown key"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_made(options: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        imported(tmp_path, [line(0)], **options)
    assert not (tmp_path / "lake").exists()


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(ConfigError, match="Cannot read"):
            import_v0(path, tmp_path / "lake")


def test_an_empty_file_is_an_empty_run(tmp_path: Path) -> None:
    report, run = imported(tmp_path, [])
    assert (report.steps, report.lossy, run.status) == (0, False, "completed")


@pytest.mark.parametrize("env", [None, "CartPole-v1"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nhello world\nbye\n", r"plain\.txt: no line of it is a step of version 0; line 2 is 'hello world': not JSON"),
        ("[1]\n", r"line 1 is '\[1\]': expected a JSON object, got list"),
        ('{"a": 1}\n{"b": 2}\n', r"line 1 is '\{\"a\": 1\}': \w+: missing"),
        ("x" * 100, rf"line 1 is '{'x' * 60}' …: not JSON"),
        ("\x00\xff", r"line 1 is '\\x00"),
    ],
)
def test_a_file_of_something_else_leaves_nothing(text: str, said: str, env: str | None, tmp_path: Path) -> None:
    file = tmp_path / "plain.txt"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        import_v0(file, tmp_path / "lake", env=env)
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(("lines", "code"), [([line(0)], 0), ([line(0), "broken"], 3)])
def test_the_command_says_what_is_lost(
    lines: list[Any], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.jsonl"
    file.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    for form in ([], ["--json"]):
        assert exit_code("import-v0", str(file), "--lake", str(tmp_path / "lake"), *form) == code
        out = capsys.readouterr().out
        if form:
            assert json.loads(out)["lossy"] is (code == 3)
        else:
            assert ("line 2: line: not JSON" in out) is (code == 3)
            assert "learned from the values" in out


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def test_an_empty_key_is_kept_as_json() -> None:
    """DuckDB takes a struct with an unnamed field for a tuple."""
    found = SpaceInference()
    found.add({"0": {"": False}}, 20)
    space = found.space()
    assert isinstance(space, gym.spaces.Dict) and isinstance(space["0"], gym.spaces.Text)
    assert found.to_value({"0": {"": False}}) == {"0": '{"":false}'}


@pytest.mark.parametrize(
    ("values", "is_json"),
    [([[[]], []], False), ([[], [[]]], False), ([[[], []], [[1.0], [2.0]]], True), ([[[1], [2]], [[], []]], True)],
)
def test_arrays_without_numbers(values: list[Any], is_json: bool) -> None:
    """`[]` has rows of any shape; `[[]]` has one row, without columns."""
    found = SpaceInference()
    for value in values:
        found.add(value, 20)
    assert isinstance(found.space(), gym.spaces.Text if is_json else gym.spaces.Sequence)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=5))
@example([([[]], None), ([], None)])
@example([([[], []], None), ([[1.0], [2.0]], None)])
def test_whatever_the_values_are_a_space_is_found(tmp_path_factory: pytest.TempPathFactory, pairs: list[Any]) -> None:
    tmp_path = tmp_path_factory.mktemp("v0")
    lines = [line(t, observation=seen, action=0 if done is None else done) for t, (seen, done) in enumerate(pairs)]
    report, run = imported(tmp_path, lines, observation="before")
    assert (report.steps, report.refused) == (len(pairs), 0)
    codec = run.codec("observation")
    for row, (seen, _) in zip(codec.decode(run.steps().order("t").to_arrow()["observation"]), pairs, strict=True):
        assert (row is None) == (seen is None)


def test_learned_values_come_back(tmp_path: Path) -> None:
    seen = [
        {"pos": [1.5, 2], "name": "é", "n": 3, "mask": [True, False]},
        {"pos": [0, 1], "name": "", "n": 0, "mask": [False, False]},
    ]
    _, run = imported(tmp_path, [line(t, observation=value) for t, value in enumerate(seen)], observation="before")
    found = run.codec("observation").decode(run.steps().order("t").to_arrow()["observation"])
    for value, expected in zip(found, seen, strict=True):
        assert value["pos"].tolist() == expected["pos"]
        assert (value["name"], value["n"]) == (expected["name"], expected["n"])
        assert value["mask"].astype(bool).tolist() == expected["mask"]
        assert isinstance(value["n"], np.integer)
