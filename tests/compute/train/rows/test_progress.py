"""How far long work is: a line now and then, and a sign of life only where some of it got done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.compute.train.rows import progress as progress_module
from harness.compute.train.rows.progress import Progress, _Bar


def test_a_line_says_how_fast_and_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "LINE_S", 0.0)
    Progress(tmp_path / "alive").rows("tokenised", 120_000, 1_000_000, 122.45)
    assert capsys.readouterr().out == (
        "tokenised 120,000 of 1,000,000 rows, 980 rows/s, 0:14:57 left\n"
    )
    assert (tmp_path / "alive").is_file()


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (500, None, 2.0, "cut 500 rows, 250 rows/s\n"),  # nobody knows how many there are
        (500, 0, 2.0, "cut 500 rows, 250 rows/s\n"),
        (1000, 1000, 2.0, "cut 1,000 of 1,000 rows, 500 rows/s, 0:00:00 left\n"),
        (0, 1000, 2.0, "cut 0 of 1,000 rows, 0 rows/s\n"),  # no speed yet: no time is guessed
        (5, 1000, 0.0, "cut 5 of 1,000 rows, 0 rows/s\n"),
    ],
)
def test_what_is_not_known_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    done: int, total: int | None, seconds: float, line: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(progress_module, "LINE_S", 0.0)
    Progress(tmp_path / "alive").rows("cut", done, total, seconds)
    assert capsys.readouterr().out == line


def test_between_two_lines_there_is_silence_but_the_sign_of_life_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "_TOUCH_S", 0.0)
    alive = tmp_path / "alive"
    progress = Progress(alive)
    assert not alive.exists()  # nothing got done yet
    for _ in range(2):
        progress.rows("cut", 1, 2, 1.0)
        assert alive.exists()
        alive.unlink()
    assert capsys.readouterr().out == ""


def test_the_file_system_is_asked_at_most_once_a_second(tmp_path: Path) -> None:
    alive = tmp_path / "it's ü.alive"
    progress = Progress(alive)
    progress.sign()
    os.utime(alive, (1, 1))
    progress.sign()
    assert alive.stat().st_mtime == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"desc": "Tokenizing train dataset (num_proc=2)", "total": 9}, "tokenised 3 of 9 rows"),
        ({"desc": "Saving the dataset (1/1 shards)", "total": 9}, "saved 3 of 9 rows"),
        ({"desc": "Something new", "total": 9}, "done with 3 of 9 rows"),
        ({"desc": None, "total": None}, "saved 3 rows"),
        ({"desc": "Packing", "total": 9, "initial": 4}, "packed 3 of 5 rows"),
    ],
)
def test_a_bar_becomes_a_line_in_words_of_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    options: dict[str, object], said: str,
) -> None:  # fmt: skip
    progress = Progress(tmp_path / "alive")
    with _Bar(progress, options) as bar:
        bar.update(2)
        monkeypatch.setattr(progress_module, "LINE_S", 0.0)
        bar.update()
        bar.set_description("whatever")
    assert capsys.readouterr().out.startswith(said + ", ")


def test_the_bars_of_the_library_come_back_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    datasets = pytest.importorskip("datasets")
    from datasets import arrow_dataset

    monkeypatch.setattr(progress_module, "LINE_S", 0.0)
    bars = arrow_dataset.hf_tqdm
    rows = datasets.Dataset.from_dict({"a": [1, 2, 3]})
    with Progress(tmp_path / "alive").instead_of_bars():
        rows.map(lambda row: {"a": row["a"] + 1}, desc="Truncating")
    assert arrow_dataset.hf_tqdm is bars
    shown = capfd.readouterr()
    assert "cut 3 of 3 rows, " in shown.out
    assert "%|" not in shown.err + shown.out
    progress = Progress(tmp_path / "alive")
    with pytest.raises(KeyError), progress.instead_of_bars():
        raise KeyError
    assert arrow_dataset.hf_tqdm is bars
