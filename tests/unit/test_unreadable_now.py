"""What keeps a part from being read and is not its content is never taken for damage."""

import contextlib
import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from rolltape.schema.errors import CorruptRecording, UnreadableNow
from rolltape.storage import part_checks
from rolltape.storage.episode_rows import EpisodeRows
from rolltape.storage.files import FileOps
from rolltape.storage.lake import open_lake
from rolltape.storage.layout import list_parts
from rolltape.storage.part_files import open_part, part_errors
from rolltape.storage.repair import repair_run
from rolltape.storage.unreadable import is_passing
from rolltape.storage.verify import verify_run
from tests.ended_runs import ended
from tests.lakes import record, run_id


@contextmanager
def no_free_files() -> Iterator[None]:
    """Every file that this process may open is open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 1, hard))
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError(errno.ENFILE, "Too many open files in system"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (PermissionError(errno.EACCES, "Permission denied"), True),
        (pa.ArrowMemoryError("malloc of size 64 failed"), True),
        (pa.ArrowCancelled("by a signal"), True),
        (UnreadableNow("of somebody else"), True),
        (OSError("Couldn't deserialize thrift"), False),
        (OSError(errno.EINVAL, "a seek to nowhere"), False),
        (IsADirectoryError(errno.EISDIR, ""), False),
        (pa.ArrowInvalid("Parquet magic bytes not found"), False),
        (ValueError("no text"), False),
    ],
    ids=repr,
)
def test_the_two_are_told_apart(error: Exception, passing: bool) -> None:
    assert is_passing(error) is passing
    with pytest.raises(UnreadableNow if passing else CorruptRecording, match=r"cannot be read|of somebody else"):
        with part_errors("part.parquet"):
            raise error


@pytest.mark.parametrize(
    ("number", "to_do"),
    [
        (errno.EMFILE, "Try again when there are free files and memory"),
        (errno.EIO, "where it stays so the disk is failing: copy the lake to another disk, without this file, and `roll"),
        (errno.EACCES, "Give this user the right to read it"),
    ],
)
def test_what_to_do_is_said(number: int, to_do: str) -> None:
    with pytest.raises(UnreadableNow, match=f"^part.parquet cannot be read at the moment: .*{to_do}"):
        with part_errors("part.parquet"):
            raise OSError(number, os.strerror(number))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_a_reader_with_too_many_open_files(tmp_path: Path) -> None:
    """It said that the part was damaged, and named it."""
    record(tmp_path)
    lake = open_lake(tmp_path)
    rows, part = lake.steps().to_dicts(), str(lake.parts()[0])  # what is imported for it is imported now
    number = rows[0]["episode"]
    for read in (
        lambda: open_part(part).metadata.num_rows,
        lambda: EpisodeRows(lake.listing).read(run_id(0), "steps", number).num_rows,
        lambda: len(lake.sql("select reward from steps")),
        lambda: len(list_parts(lake.run().folder, "steps")),
    ):
        with no_free_files(), pytest.raises(UnreadableNow, match=r"at the moment: .*Too many open files"):
            read()
        assert read() > 0


def test_verify_says_so_and_repair_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It put the parts aside, and declared their rows as gone."""
    run = ended(tmp_path)
    before = sorted(path for path in run.path.rglob("*") if path.is_file())

    def too_many(path: Path) -> str:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(part_checks, "digest_of_file", too_many)
        report = verify_run(run, settle_it=False)
        assert {finding.code for finding in report.of("damage")} >= {"unreadable_now"} and report.exit_code == 1
        assert any("try again when there are free files" in finding.remedy for finding in report.findings)
        with pytest.raises(UnreadableNow, match=r"Too many open files.*Nothing was repaired: try again"):
            repair_run(run)
    assert sorted(path for path in run.path.rglob("*") if path.is_file()) == before
    assert verify_run(run).verdict == "clean"


def test_a_list_of_runs_lacks_only_what_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2):
        record(tmp_path, number)
    lake = open_lake(tmp_path)
    read, broken = lake.runs_table._read_fresh, run_id(0)

    def fresh(paths: list[str]) -> None:
        if any(broken in path for path in paths):
            raise UnreadableNow("a disk that does not answer")
        read(paths)

    with monkeypatch.context() as patch:
        patch.setattr(lake.runs_table, "_read_fresh", fresh)
        assert [row["episodes"] for row in lake.runs().to_dicts()] == [0, 8]
        broken = "runs"
        with pytest.raises(UnreadableNow):
            lake.runs_table._returns.clear()
            lake.runs().to_dicts()
    assert [row["episodes"] for row in lake.runs().to_dicts()] == [8, 8], "nothing was remembered"


@pytest.mark.parametrize("name", ["run.json", "end.json", "infos.arrow", "run.json.copy"])
def test_a_small_file_that_cannot_be_read_now_is_left_where_it_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repair put it aside, and wrote another end."""
    run = ended(tmp_path)
    if not (run.path / name).exists():
        (run.path / name).write_bytes((run.run_json if name == "run.json.copy" else run.end_json).read_bytes())
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    read_bytes, read = Path.read_bytes, FileOps.read

    def refuse(path: Path) -> None:
        if path.name == name:
            raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: refuse(path) or read_bytes(path))
        patch.setattr(FileOps, "read", lambda self, path: refuse(path) or read(self, path))
        if name in ("run.json", "end.json"):
            assert [row["status"] for row in open_lake(tmp_path).runs().to_dicts()] == ["unreadable"]
        with contextlib.suppress(UnreadableNow):
            repair_run(run)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by /proc")
def test_a_lake_that_is_opened_with_too_many_open_files(tmp_path: Path) -> None:
    """DuckDB aborted the process: it is one of its own here."""
    record(tmp_path)
    program = f"""
from tests.unit.test_unreadable_now import UnreadableNow, no_free_files, open_lake
open_lake({str(tmp_path)!r}).steps().to_dicts()  # what is imported for it is imported now
with no_free_files():
    try:
        open_lake({str(tmp_path)!r}).steps().to_dicts()
    except UnreadableNow as error:
        told = str(error)
print(told)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "cannot be read at the moment: [Errno 24] Too many open files" in done.stdout
