"""What a notebook shows of a recording: plots, pictures, and objects as HTML."""

import importlib.util
import io
import pickle
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from rolltape.dashboards import plot_backends
from rolltape.dashboards.line_plot import Line, LinePlot
from rolltape.dashboards.notebook import picture_png
from rolltape.dashboards.ticks import short, ticks
from rolltape.schema.errors import ConfigError, LakeNotFound, MissingExtra
from rolltape.storage.lake import open_lake
from rolltape.storage.picture import Picture
from tests.lakes import new_run, record, record_frames

SVG = "{http://www.w3.org/2000/svg}"


def paths(plot: LinePlot) -> list[str]:
    return [found.get("d", "") for found in ET.fromstring(plot.svg).iter(f"{SVG}path") if found.get("fill") == "none"]


def test_returns_of_a_run(tmp_path: Path) -> None:
    record(tmp_path, commits=4, steps=6)
    run = open_lake(tmp_path).run()
    plot = run.plot(backend="svg")
    done = len(run.episodes("status = 'completed'"))
    assert [line.name for line in plot.lines] == ["return", "mean of the nearest"]
    assert len(plot.x) == len(plot.lines[0].values) == done > 2
    assert sorted(plot.lines[0].values) == sorted(run.episodes("status = 'completed'").numpy()["return"])
    assert len(paths(plot)) == 2
    assert f"{done} episodes" in plot._repr_html_()


def test_lines_of_an_episode(tmp_path: Path) -> None:
    record(tmp_path)
    run = open_lake(tmp_path).run()
    number = run.episodes().fetchall()[0][run.episodes().columns.index("episode")]
    episode = run.episode(number)
    rewards = episode.plot(backend="svg")
    assert np.array_equal(rewards.lines[0].values, episode.rewards)
    assert np.array_equal(rewards.x, np.arange(episode.length))
    assert len(run.plot("observation", episode=number, backend="svg").lines) == 4
    one = run.plot("observation[2]", episode=number, backend="svg")
    assert np.array_equal(one.lines[0].values, np.asarray(episode.observations)[: episode.length, 2].astype(float))
    assert np.array_equal(
        run.plot("return so far", episode=number, backend="svg").lines[0].values, np.cumsum(episode.rewards)
    )


@pytest.mark.parametrize(
    ("what", "how", "error", "words"),
    [
        ("reward", {}, ConfigError, r"return and length, got 'reward'; give episode="),
        (
            "lenght",
            {"episode": 0},
            ConfigError,
            r"reward, action, observation, return so far, observation\[0\].*got 'lenght'",
        ),
        ("reward", {"episode": 999_999}, LakeNotFound, "no episode 999999"),
        ("return", {"backend": "gnuplot"}, ConfigError, "altair, matplotlib, svg or None, got 'gnuplot'"),
    ],
)
def test_what_cannot_be_plotted_says_why(tmp_path: Path, what: str, how: dict, error: type, words: str) -> None:
    record(tmp_path)
    with pytest.raises(error, match=words):
        open_lake(tmp_path).run().plot(what, **how)


def test_a_run_without_episodes_has_an_empty_plot(tmp_path: Path) -> None:
    new_run(tmp_path)
    plot = open_lake(tmp_path).run().plot(backend="svg")
    assert "nothing to show yet" in plot.svg
    assert paths(plot) == []


def test_gaps_break_the_line_and_infinities_do_not_break_the_plot() -> None:
    values = np.array([1.0, 2.0, np.nan, np.inf, 3.0, 4.0])
    plot = LinePlot("a", "t", "y", np.arange(6.0), [Line("y", values)])
    (path,) = paths(plot)
    assert path.count("M") == 2
    assert "nan" not in plot.svg and "inf" not in plot.svg
    flat = LinePlot("a", "t", "y", np.arange(3.0), [Line("y", np.ones(3))])
    assert "nan" not in flat.svg


def test_a_plot_is_small_escaped_and_says_what_it_shows() -> None:
    evil = "<script>alert('x')</script>&\""
    x = np.arange(200_000.0)
    plot = LinePlot(evil, evil, evil, x, [Line(evil, np.sin(x)), Line("b", np.cos(x))])
    root = ET.fromstring(plot.svg)
    assert "<script" not in plot.svg
    assert len(plot.svg) < 100_000
    assert root.get("role") == "img"
    assert "200,000 points" in root.get("aria-label", "")
    assert "prefers-color-scheme" in plot._repr_svg_()
    assert ET.fromstring(plot._repr_svg_()).tag == f"{SVG}svg"


def test_a_plot_can_be_saved(tmp_path: Path) -> None:
    plot = LinePlot("ü", "t", "y", np.arange(3.0), [Line("y", np.arange(3.0))])
    assert ET.parse(plot.save(tmp_path / "plot.svg")).getroot().tag == f"{SVG}svg"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 7.9), (0, 12_345), (1e-9, 2e-9), (5, 5), (-1e12, 1e12)])
def test_ticks_are_round_and_within(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 1 <= len(found) <= 11
    assert all(low - 1e-9 * abs(low) <= value <= high + 1e-9 * abs(high) for value in found)
    assert len({short(value) for value in found}) == len(found)


def test_altair_draws_it() -> None:
    pytest.importorskip("altair")
    x = np.arange(4.0)
    chart = plot_backends.drawn(LinePlot("a", "t", "y", x, [Line("l", np.array([1, 2, np.nan, 4]))]), None)
    content = chart.to_dict()
    assert [row["y"] for row in content["data"]["values"]] == [1, 2, 4]
    assert content["title"] == "a"


def test_a_chart_of_altair_is_shown_without_the_network() -> None:
    """Altair's own display loads what draws it from elsewhere."""
    altair = pytest.importorskip("altair")
    plot = LinePlot("a", "t", "y", np.arange(4.0), [Line("l", np.arange(4.0))])
    chart = plot_backends.drawn(plot, "altair")
    assert isinstance(chart, altair.Chart)
    for made in (chart, chart.properties(width=300)):
        shown = made._repr_mimebundle_()
        assert shown["image/svg+xml"] == plot.svg
        assert any(kind.startswith("application/vnd.vegalite") for kind in shown)
        assert "text/html" not in shown
    with altair.renderers.enable("html"):
        assert "text/html" in chart._repr_mimebundle_(), "who chose one has it"


def test_matplotlib_draws_it() -> None:
    pytest.importorskip("matplotlib")
    figure = plot_backends.drawn(LinePlot("a", "t", "y", np.arange(4.0), [Line("l", np.arange(4.0))]), "matplotlib")
    out = io.BytesIO()
    figure.savefig(out, format="png")
    assert out.getvalue().startswith(b"\x89PNG")


def test_backends_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    plot = LinePlot("a", "t", "y", np.arange(2.0), [Line("l", np.arange(2.0))])
    assert plot_backends.drawn(plot, None) is plot

    def missing(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(plot_backends.importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match="pip install altair"):
        plot_backends.drawn(plot, "altair")


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_a_picture_is_shown_without_loss(shape: tuple[int, ...]) -> None:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    shown = np.asarray(image.open(io.BytesIO(Picture.of(pixels)._repr_png_() or b"")))
    assert np.array_equal(shown, pixels.reshape(shown.shape))


def test_a_picture_is_an_array(tmp_path: Path) -> None:
    pixels = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    record_frames(tmp_path, {0: pixels})
    run = open_lake(tmp_path).run()
    picture = run.frame(0, 1)
    assert isinstance(picture, np.ndarray)
    assert (picture == pixels[1]).all()
    assert type(picture + 1) is np.ndarray
    assert type(picture.mean()) is np.float64
    assert type(picture[..., 0]) is Picture
    assert type(pickle.loads(pickle.dumps(picture))) is np.ndarray
    assert (pickle.loads(pickle.dumps(picture, 5)) == picture).all()


def test_arrays_that_are_no_pictures_show_as_text() -> None:
    assert picture_png(np.zeros((4, 4), np.float32)) is None
    assert picture_png(np.zeros(4, np.uint8)) is None


EVIL = "<img src=x onerror=alert(1)>"


def test_objects_are_shown_as_escaped_html(tmp_path: Path) -> None:
    record(tmp_path, env_id=EVIL, end={"status": "failed", "lost_steps": 3, "episodes": 4})
    lake = open_lake(tmp_path)
    run = lake.run()
    for shown in (run._repr_html_(), lake._repr_html_()):
        assert "&lt;img src=x" in shown and "<img" not in shown
        assert "failed" in shown and run.run_id in shown
        assert not re.search(r"(?<!-)\bcolor:#(000|fff)|background:#", shown)  # the theme around it decides
        ET.fromstring(shown)
    assert "3 steps; run.gaps()" in run._repr_html_()
    number = run.episodes().to_dicts()[0]["episode"]
    assert f"Episode {number}" in run.episode(number)._repr_html_()


def test_a_lake_shows_its_newest_runs_also_beside_a_damaged_one(tmp_path: Path) -> None:
    for number in range(12):
        new_run(tmp_path, number)
    lake = open_lake(tmp_path)
    oldest, *_, newest = lake.listing.run_ids()
    (lake.listing.folder(newest).run_json).write_text("{")
    shown = lake._repr_html_()
    assert "12 runs" in shown and "2 older ones" in shown
    assert newest in shown and "unreadable" in shown
    assert oldest not in shown


def test_an_empty_lake_is_shown(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert "0 runs" in open_lake(tmp_path)._repr_html_()


def test_the_end_of_a_run_is_shown() -> None:
    from rolltape.actors.end_summary import EndSummary

    counts = dict.fromkeys(("inflight_high_bytes", "lag_high_s", "waited_s", "resent", "restarts"), 0)
    summary = EndSummary(
        run_id="01J", env_id=EVIL, status="stopped", reason=EVIL, path="/x", seconds=2.0, steps=1000, episodes=4,
        completed=3, frames=0, mean_return=None, lost_steps=0, lost_episodes=0, bytes=2_500_000, cpu_s={}, reconciled={},
        mismatches={}, **counts,
    )  # fmt: skip
    shown = summary._repr_html_()
    assert "1,000 (500 a second)" in shown and "2.5 MB" in shown
    assert shown.count("&lt;img") == 2 and "<img" not in shown
    assert "mean return" not in shown
