"""Metric against step as a picture: every point that is known, none that is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.results.collect import headlines
from harness.results.plots import plot_table
from harness.results.table import Row, Table

pytest.importorskip("matplotlib", reason="plots need the extra `report`")


def metrics(score: float, n: int = 10) -> dict[str, Any]:
    return {"gsm8k": {"pass@1": {"num_entries": n, "symbolic_correct": score}}}


def test_the_picture_has_a_panel_per_headline(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `report`")
    from harness.results.plots import plot_table

    table = Table(
        (Row.of("r", "base", 0, metrics(0.0)), Row.of("r", "checkpoint-5", 5, metrics(9.0)))
    )
    plot_table(table, headlines(table), tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are saved, so that what is on them can be asked."""
    from matplotlib.figure import Figure

    figures: list[Any] = []
    save = Figure.savefig

    def kept(figure: Any, *args: Any, **kwargs: Any) -> None:
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", kept)
    return figures


def test_points_stand_at_their_steps_and_an_unknown_one_is_counted_and_not_drawn(
    tmp_path: Path, drawn: list[Any]
) -> None:
    rows = (
        Row.of("r", "base", 0, metrics(0.0)),
        Row.of("r", "checkpoint-5", 5, {}),
        Row.of("r", "checkpoint-10", 10, metrics(9.0)),
        Row.of("r", "another", None, metrics(50.0)),
    )
    plot_table(Table(rows), ["gsm8k/pass@1/symbolic_correct"], tmp_path / "p.png")
    (axes,) = drawn[0].axes
    assert [tuple(point) for point in axes.lines[0].get_xydata()] == [(0.0, 0.0), (10.0, 9.0)]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["0.0", "9.0", "2 without a result"]
    assert (axes.get_title(), axes.get_ylabel()) == ("gsm8k", "symbolic_correct (%)")
    assert axes.get_ylim()[0] == 0


def test_only_headlines_of_pass_at_1_have_a_panel_each_run_is_named_once(
    tmp_path: Path, drawn: list[Any]
) -> None:
    values = {
        "gsm8k": {"pass@4": {"symbolic_correct": 1.0}, "pass@1": {"symbolic_correct": 2.0, "x": 3}},
        "arena-hard": {"pass@1": {"score": -5.0}},
    }
    rows = (Row.of("a", "base", 0, values), Row.of("a", "checkpoint-5", 5, values),
            Row.of("b", "base", 0, values))  # fmt: skip
    plot_table(
        Table(rows),
        ["gsm8k/pass@1/symbolic_correct", "arena-hard/pass@1/score"],
        tmp_path / "p.png",
    )
    gsm8k, arena = drawn[0].axes
    assert [axes.get_title() for axes in (gsm8k, arena)] == ["gsm8k", "arena-hard"]
    assert set(gsm8k.lines[0].get_ydata()) == {2.0}
    assert arena.get_ylim()[0] < -5
    assert drawn[0].get_suptitle() == "a b"


def test_a_table_without_a_known_headline_still_gives_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "p é.png"
    path.write_bytes(b"old")
    word = {"own": {"pass@1": {"answer": "yes"}}}
    for table in (Table(()), Table((Row.of("r", "base", 0, word),))):
        plot_table(table, ["own/pass@1/answer"], path)
        assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_without_matplotlib_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        UserError, match=r"plots need matplotlib: pip install 'posttrain-harness\[report\]'"
    ):
        plot_table(Table(()), [], tmp_path / "p.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("error")
def test_a_name_is_no_formula_whatever_it_holds(tmp_path: Path, drawn: list[Any]) -> None:
    name = "cost $5 and $\\frac{1 x_{ \x1b 名"
    values = {f"b {name}": {"pass@1": {f"m {name}": 1.0}}}
    table = Table((Row.of(name, "base", 0, values),))
    plot_table(table, table.columns, tmp_path / "p.png")
    shown = name.replace("\x1b", "␛")
    (axes,) = drawn[0].axes
    assert drawn[0].get_suptitle() == shown
    assert (axes.get_title(), axes.get_ylabel()) == (f"b {shown}", f"m {shown} (%)")


def test_many_benchmarks_stand_in_rows_and_none_on_another(
    tmp_path: Path, drawn: list[Any]
) -> None:
    values = {f"b{n}": {"pass@1": {"x": 1.0, "yes": True}} for n in range(14)}
    table = Table((Row.of("r", "base", 0, values), Row.of("r", "checkpoint-5", 5, values)))
    plot_table(table, [f"b{n}/pass@1/x" for n in range(14)], tmp_path / "p.png")
    boxes = [axes.get_position() for axes in drawn[0].axes]
    assert len(boxes) == 14
    assert len({round(box.y0, 3) for box in boxes}) == 3
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[:at])
    assert all(box.x0 >= 0 and box.x1 <= 1 and box.y0 >= 0 and box.y1 <= 1 for box in boxes)
    plot_table(table, ["b0/pass@1/yes"], tmp_path / "p.png")
    assert [t.get_text() for t in drawn[1].axes[0].texts] == ["2 without a result"], "true is no 1"
