"""What is made of measured runs: medians of pairs, verdicts on targets, tables, and the section of a page."""

from dataclasses import replace
from pathlib import Path

import pytest

from rolltape.schema.errors import ConfigError
from rolltape.scripts.bench.catalogue import FIGURE_FILES, chosen, workloads
from rolltape.scripts.bench.comparison import Comparison
from rolltape.scripts.bench.figure import Figure
from rolltape.scripts.bench.figures.slow_writer import drift
from rolltape.scripts.bench.orders import Outcome
from rolltape.scripts.bench.pairs import Pair
from rolltape.scripts.bench.results import ResultFolder, Results
from rolltape.scripts.bench.stepping import run_until
from rolltape.scripts.bench.tables import BEGIN, END, markdown, write_into_page
from rolltape.scripts.bench.targets import TARGETS, verdicts

BARE = Outcome(
    name="W1",
    recorder="bare",
    calls=1_000_000,
    rows=1_000_000,
    episodes=5,
    start_s=0.1,
    step_s=10.0,
    total_s=10.0,
    step_cpu_s=10.0,
    cpu_s=10.0,
    peak_rss_bytes=50 << 20,
)
RECORDED = replace(
    BARE,
    recorder="rolltape",
    step_s=12.0,
    total_s=12.5,
    cpu_s=13.0,
    writer_cpu_s=2.0,
    stored_rows=1_000_000,
    stored_frames=0,
    stored_bytes=16_000_000,
    frame_bytes=0,
    lag_high_s=0.9,
)


def pair(bare_s: float, recorded_s: float) -> Pair:
    return replace(BARE, total_s=bare_s), replace(RECORDED, total_s=recorded_s)


def test_ratios_are_taken_in_each_pair() -> None:
    """A machine that becomes three times slower after the first pair changes no ratio."""
    compared = Comparison.of([pair(10, 12.5), pair(30, 37.5), pair(30, 37.5)])
    assert [compared.ratio_low, compared.total_ratio, compared.ratio_high] == pytest.approx([0.8, 0.8, 0.8])


def test_a_comparison() -> None:
    compared = Comparison.of([(BARE, RECORDED)])
    assert compared.bare_per_s == 100_000
    assert compared.total_per_s == 80_000
    assert compared.step_ratio == pytest.approx(10 / 12)
    assert compared.cpu_ratio == pytest.approx(10 / 13)
    assert compared.added_us == pytest.approx(3.0)
    assert compared.writer_cpu_s == pytest.approx(2.0)
    assert compared.bytes_per_step == 16
    assert compared.bytes_per_frame is None
    assert compared.lag_high_s == 0.9
    assert compared.waited_s is None


def test_verdicts_name_what_was_not_measured() -> None:
    slow = BARE, replace(RECORDED, recorder="minari", total_s=1_000)
    results = Results(
        pairs={("W1", "rolltape"): [pair(10, 12)], ("W1", "minari"): [slow]},
        figures={"import": [Figure("import.seconds", "import rolltape", 0.4, "s")]},
    )
    said = {(v.target.where, v.target.what): v.met for v in verdicts(results)}
    assert len(said) == len(TARGETS)
    assert said["W1", "recorded / bare, drain included"] is True
    assert said["import.seconds", "import rolltape"] is False
    assert said["W3-1", "recorded / bare, drain included"] is None
    assert "NOT MET" in markdown(results)


def test_targets_name_what_there_is() -> None:
    known = set(workloads())
    for target in TARGETS:
        group = target.where.partition(".")[0]
        assert target.where in known if target.read else group in FIGURE_FILES


def test_results_are_kept_and_read_in_order(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path)
    folder.keep_pairs([(BARE, replace(RECORDED, recorder="minari"))], {"processor": "one"})
    folder.keep_pairs([(BARE, RECORDED)], {"processor": "one"})
    folder.keep_pairs([(replace(BARE, name="A0"), replace(RECORDED, name="A0"))], {})
    figure = Figure("import.seconds", "import rolltape", 0.1, "s", "median")
    folder.keep_figures("import", [figure], {})
    folder.keep_figures("import", [figure], {})
    results = folder.read(["W1", "A0"], ["import"])
    assert list(results.pairs) == [("W1", "rolltape"), ("W1", "minari"), ("A0", "rolltape")]
    assert results.pairs["W1", "rolltape"] == [(BARE, RECORDED)]
    assert results.figures == {"import": [figure]}
    assert results.circumstances["W1.rolltape"]["processor"] == "one"


def test_the_section_of_a_page_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    results = Results(pairs={("W1", "rolltape"): [(BARE, RECORDED)]})
    write_into_page(results, page)
    write_into_page(results, page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("| W1 | rolltape |") == 1
    page.write_text("no marks")
    with pytest.raises(ValueError, match="no section"):
        write_into_page(results, page)


def test_names_choose_workloads_and_figures() -> None:
    assert chosen(["W3", "memory"]) == (["W3-1", "W3-8"], ["memory"])
    assert chosen(["w1", "figures"]) == (["W1"], list(FIGURE_FILES))
    assert chosen([""]) == (list(workloads()), list(FIGURE_FILES))
    with pytest.raises(ConfigError, match="no 'w9'"):
        chosen(["W9"])


def test_a_loop_stops_at_its_calls() -> None:
    class Counting:
        calls = rows = started = ended = 0

        def reset(self) -> None: ...

        def run(self, calls: int) -> None:
            self.calls += calls

    loop = Counting()
    run_until(loop, max_seconds=None, max_calls=25, chunk=10)
    assert loop.calls == 25
    run_until(loop, max_seconds=0.0, max_calls=None, chunk=10)
    assert loop.calls == 35


def test_drift_leaves_out_what_is_filled_once() -> None:
    assert drift([0, 50, *[100.0] * 18]) == 0
    assert drift([float(i) for i in range(100)]) == pytest.approx(60)
    assert drift([7.0]) == 0
