import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer

from rolltape.schema.errors import ConfigError
from rolltape.scripts.cli import COMMANDS, GROUPS, app_for, main
from tests.command_line import exit_code
from tests.lakes import record, run_id


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROLLTAPE_LAKE", raising=False)
    record(tmp_path / "lake", 0, end={"status": "completed", "seconds": 12.5})
    record(tmp_path / "lake", 1, length=4, commits=20)
    return tmp_path / "lake"


@pytest.fixture
def rolltape(capsys: pytest.CaptureFixture[str]):
    """Run the command line; gives the exit code, what it printed, and its errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = exit_code(*arguments)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_runs(lake: Path, rolltape) -> None:
    code, out, err = rolltape("runs")
    assert (code, err) == (0, "")
    header, first, second = out.splitlines()
    assert header.split()[:6] == ["run_id", "env_id", "created", "status", "steps", "episodes"]
    assert first.split()[:6] == [run_id(0), "Test-v0", "2026-09-21", "14:13:20", "completed", "24"]
    assert second.startswith(run_id(1))
    assert rolltape("runs", "--where", "status = 'completed'")[1].count("\n") == 2
    assert rolltape("runs", "--order", "steps desc")[1].splitlines()[1].startswith(run_id(1))


def test_fewer_runs_are_the_newest(lake: Path, rolltape) -> None:
    out = rolltape("runs", "--limit", "1")[1].splitlines()
    assert out[1].startswith(run_id(1)) and out[2] == "1 of 2; --limit 0 shows all"


def test_the_lake_is_an_option_or_in_the_environment(
    lake: Path, rolltape, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir("/")
    assert rolltape("runs", "--lake", str(lake))[0] == 0
    code, out, err = rolltape("runs")
    assert (code, out) == (1, "")
    assert err.startswith("rolltape: No lake at /lake: there is no such folder.") and "Traceback" not in err
    file = tmp_path / "notes.txt"
    file.touch()
    code, out, err = rolltape("runs", "--lake", str(file))
    assert (code, out) == (1, "") and f"No lake at {file}: it is a file" in err
    monkeypatch.setenv("ROLLTAPE_LAKE", str(lake))
    assert rolltape("episodes")[0] == 0


def test_episodes(lake: Path, rolltape) -> None:
    code, out, _ = rolltape("episodes", run_id(0), "--where", "return > 1", "--order", "episode desc", "--limit", "2")
    lines = out.splitlines()
    assert code == 0 and lines[0].split()[:4] == ["episode", "sub_env", "length", "return"]
    assert [line.split()[0] for line in lines[1:3]] == ["3001", "3000"]
    assert lines[3] == "2 of 8; --limit 0 shows all"
    everything = rolltape("episodes", "latest", "--limit", "0")[1].splitlines()
    assert len(everything) == 1 + 40
    assert len(rolltape("episodes")[1].splitlines()) == 1 + 20 + 1


def test_sql(lake: Path, rolltape) -> None:
    query = "select env_id, avg(return) from episodes group by 1"
    assert rolltape("sql", query)[1].splitlines()[0].split() == ["env_id", "avg(return)"]
    assert json.loads(rolltape("sql", query, "--format", "json")[1])[0]["env_id"] == "Test-v0"


def test_rows_for_programs(lake: Path, rolltape) -> None:
    found = json.loads(rolltape("episodes", run_id(0), "--format", "json")[1])
    assert len(found) == 8 and found[0]["return"] == 3.0 and found[0]["seed"] is None
    table = list(csv.DictReader(io.StringIO(rolltape("episodes", run_id(0), "--format", "csv")[1])))
    assert len(table) == 8 and table[0]["return"] == "3.0" and table[0]["seed"] == ""
    steps = json.loads(rolltape("sql", "select time, t from steps limit 1", "--format", "json")[1])
    assert steps == [{"time": "2026-09-21T14:13:20+00:00", "t": 0}]
    assert json.loads(rolltape("sql", "select 1 as x where false", "--format", "json")[1]) == []


def test_rows_into_a_file(lake: Path, rolltape, tmp_path: Path) -> None:
    for suffix in ("parquet", "csv", "json"):
        code, out, _ = rolltape("episodes", run_id(0), "--output", str(tmp_path / f"x.{suffix}"))
        assert (code, out) == (0, "")
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 8
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 9
    assert len(json.loads((tmp_path / "x.json").read_text())) == 8
    assert "ending in .parquet, .csv, .json" in rolltape("episodes", "--output", "x.xls")[2]
    assert "Cannot write" in rolltape("episodes", "--output", "/nowhere/x.csv")[2]


def test_info(lake: Path, rolltape) -> None:
    code, out, _ = rolltape("info", run_id(0)[:9])
    assert code == 0
    for line in (f"run_id +{run_id(0)}", "status +completed", "steps +24", "steps table +24 rows, .* 3 parts"):
        assert re.search(line, out), line
    assert "observation space  Box(-inf, inf, (4,), float32)" in out
    assert "end seconds        12.5" in out
    assert "_ns" not in out, "times are for people"
    facts = json.loads(rolltape("info", run_id(0), "--format", "json")[1])
    assert facts["summary"]["steps"] == facts["tables"]["steps"]["rows"] == 24
    assert facts["run"]["env_id"] == "Test-v0" and facts["end"]["seconds"] == 12.5


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["runs", "--bogus"], 2, "No such option"),
        (["nonsense"], 2, "No such command"),
        (["sql"], 2, "Missing argument"),
        (["runs", "--format", "xml"], 2, "'xml' is not one of 'table', 'json', 'csv'"),
        (["runs", "--limit", "ten"], 2, "expected a whole number, got 'ten'"),
        (["runs", "--limit", "-1"], 2, "expected at least 0, got '-1'"),
        (["replay", "--episode", "abc"], 2, "expected a whole number, got 'abc'"),
        (["config", "show", "--format", "xml"], 2, "'xml' is not one of 'table', 'json', 'toml'"),
        (["video", "--speed", "inf"], 2, "expected at most 1000, got 'inf'"),
        (["video", "--fps", "nan"], 2, "got 'nan'"),
        (["video", "--kind", "rgb"], 2, "'rgb' is not one of 'observation', 'render'"),
        (["dashboard", "one", "--lake", "two"], 1, "one lake, got LAKE one and --lake two"),
        (["tune", "CartPole-v1", "--lake", __file__], 1, f"--lake: {__file__} is a file"),
        (["episodes", "--output", "nowhere/x.csv"], 1, "there is no folder nowhere"),
        (["episodes", "ZZZ"], 1, "rolltape: No run 'ZZZ'"),
        (["episodes", "--where", "retrun > 1"], 1, "--where 'retrun > 1': no column retrun. Did you mean return? There are"),
        (["episodes", "--where", 'status = "lost"'], 1, "A text stands in single quotes: 'lost'."),
        (["episodes", "--where", "length >"], 1, "--where 'length >': syntax error at or near \">\""),
        (["episodes", "--where", "length > 'x'"], 1, "--where \"length > 'x'\": Could not convert string 'x'"),
        (["episodes", "--where", "t >\n1", "--order", "y"], 1, "--where 't >\\n1': no column t. There are run_id, "),
        (["runs", "--where", "steps > 1", "--order", "step"], 1, "--order 'step': no column step. Did you mean steps?"),
        (["logs", "--all", "--where", "x = 2"], 1, "--where 'x = 2': no column x. There are run_id, "),
        (["replay", "--where", "lenght > 1"], 1, "--where 'lenght > 1': no column lenght. Did you mean length?"),
        (["sql", "select x from runs"], 1, "rolltape: sql: no column x in what is asked. Near are "),
        (["sql", "select\n1 +"], 1, 'rolltape: sql: syntax error at or near "+"\n'),
        (["sql", "explain select 1"], 1, "(select, from, describe, summarize, show tables), got EXPLAIN"),
        (["verify", "0", "--all"], 2, "Invalid value for --all: every run, or the one that is named; got '0' too"),
        (["migrate", "0", "--all"], 2, "Invalid value for --all: "),
        (["compact", "0", "--all"], 2, "Invalid value for --all: "),
        (["replay", "--all", "--episode", "1"], 1, "--all means every episode; leave it out"),
        (["stress", "--synthetic", "latest"], 1, "stress: leave out RUN: with --synthetic no recorded run is played"),
        (["stress", "--frames", "none", "-n", "2"], 1, "leave out --envs, --frames: a recorded run makes no environment"),
        (["stress", "--synthetic", "--frames", "all"], 2, "Invalid value for --frames: expected auto, none,"),
        (["submit", "--address", "head", "--status", "x"], 1, "--address: expected the URL of the head's dashboard"),
        (["runs", "--output", "/proc/x.csv"], 1, "Cannot write /proc/x.csv: No such file or directory. Choose another"),
        (["retain", "--max-size", "big"], 1, "--max-size: expected a size such as 500MB, 100GB or 2TiB, got 'big'"),
        (["sql", "select * from episode"], 1, "no table named episode. There are adoption, control, episodes,"),
        (["retain"], 1, "retain: give --keep-last N, --max-age AGE or --max-size SIZE; without a rule nothing goes."),
        (["retain", "--max-age", "30"], 1, "--max-age: expected an age such as 45s, 90m, 12h, 30d or 2w, got '30'"),
        (["dashboard", "--host", "0.0.0.0"], 1, "(`ssh -L 8765:127.0.0.1:8765 …`), or say --allow-remote"),
        (["dashboard", "--host", "0.0.0.0", "--port", "9000"], 1, "(`ssh -L 9000:127.0.0.1:9000 …`)"),
        (["sql", "drop table runs"], 1, "rolltape: sql: expected one statement that reads"),
    ],
)
def test_what_is_wrong_is_said_once(lake: Path, rolltape, arguments: list[str], code: int, said: str) -> None:
    ended, out, err = rolltape(*arguments)
    assert (ended, out) == (code, "")
    assert said in err and "Traceback" not in err and "read_parquet" not in err


def test_a_limit_that_no_lake_reaches(lake: Path, rolltape) -> None:
    assert rolltape("runs", "--limit", str(10**23))[1].count("\n") == 3


def test_what_there_is_to_ask(lake: Path, rolltape) -> None:
    assert {"episodes", "runs", "steps"} <= set(rolltape("sql", "show tables")[1].split())


def test_all_of_a_lake_without_runs(tmp_path: Path, rolltape) -> None:
    (tmp_path / "lake" / "runs").mkdir(parents=True)
    lake = str(tmp_path / "lake")
    assert rolltape("verify", "--all", "--lake", lake)[1].endswith("0 runs: 0 clean, 0 lossy, 0 failed\n")
    for command in ("migrate", "compact"):
        assert rolltape(command, "--all", "--lake", lake) == (0, f"No runs in {lake}.\n", "")


def test_debug_shows_where_an_error_came_from(lake: Path) -> None:
    with pytest.raises(ConfigError):
        main(["sql", "--debug", "drop table runs"])


def python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)


def test_reading_commands_load_neither_ray_nor_gymnasium(lake: Path) -> None:
    program = (
        "import sys, contextlib\nfrom rolltape.scripts.cli import main\n"
        "with contextlib.suppress(SystemExit): main(sys.argv[1:])\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    helping = set(python(program, "--help").stdout.splitlines()[-1].split())
    assert helping.isdisjoint({"ray", "duckdb", "pyarrow", "gymnasium", "numpy"})
    listing = set(python(program, "runs", "--lake", str(lake)).stdout.splitlines()[-1].split())
    assert "duckdb" in listing and listing & {"ray", "gymnasium", "pandas", "polars"} == set()


def test_a_closed_pipe_brings_no_message(lake: Path) -> None:
    program = (
        "from rolltape.scripts.cli import main; "
        f"main(['sql', 'select range from range(200000)', '--format', 'csv', '--lake', {str(lake)!r}])"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("arguments", "commands"),
    [
        (["--debug", "runs", "--lake", "record"], ["runs"]),
        (["import-v0", "--help"], ["import-v0"]),
        (["schema", "dump"], ["schema"]),
        (["--version"], []),
        (["--help"], [*COMMANDS, *GROUPS]),
        (["recrod", "runs"], [*COMMANDS, *GROUPS]),
        ([], [*COMMANDS, *GROUPS]),
    ],
)
def test_only_the_command_that_is_called_is_loaded(arguments: list[str], commands: list[str]) -> None:
    app = app_for(arguments)
    assert [one.name for one in (*app.registered_commands, *app.registered_groups)] == commands


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert not ended.value.code and re.fullmatch(r"rolltape \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_durations_say_their_unit() -> None:
    """Of every option that is a time, however it is called."""
    timed = re.compile(r"(^|_)(grace|age|age_s|seconds|interval|quarantine|wait_s|up_s|timeout)(_|$)")
    found = 0
    for name in COMMANDS:
        for parameter in typer.main.get_command(app_for([name])).commands[name].params:  # type: ignore[attr-defined]
            if timed.search(parameter.name) and not parameter.is_flag:
                found += 1
                assert re.search(r"[Ss]econds|such as 45s, 90m", parameter.help), (name, parameter.name, parameter.help)
    assert found >= 9
