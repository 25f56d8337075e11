"""The split whose loss is measured: what `check` says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.config.load import load_spec
from harness.config.site import Site
from harness.errors import UserError
from harness.preflight.check import check
from harness.preflight.findings import Finding
from tests.preflight.support import Row, saved_dataset, turn
from tests.preflight.test_check import spec


def found(folder: Path, messages: list[Row] | None = None, **train: Any) -> list[Finding]:
    """Findings of a spec over a DatasetDict of `train` and `test`."""
    data = folder / "splits"
    saved_dataset(data / "train")
    saved_dataset(data / "test", messages=messages, rows=4)
    (data / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    asked = spec(folder, dataset_name=str(data), **{"eval_split": "test", **train})
    return list(check(asked, Site(runs_dir=str(folder / "runs")), "slurm").findings)


def test_a_good_split_has_no_findings(tmp_path: Path) -> None:
    assert [f for f in found(tmp_path) if f.level != "note"] == []


def test_a_split_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    (wrong,) = [f for f in found(tmp_path, eval_split="tset") if f.level == "error"]
    assert wrong.place == "train.eval_split"
    assert "no split 'tset', did you mean 'test'" in wrong.message.replace("; did", ", did")
    assert "dataset_split" not in wrong.message


def test_a_set_without_splits_has_none(tmp_path: Path) -> None:
    asked = spec(tmp_path, eval_split="test")
    checked = check(asked, Site(runs_dir=str(tmp_path / "runs")), "slurm")
    assert [f.place for f in checked.errors] == ["train.eval_split"]
    assert "without splits" in checked.errors[0].message


def test_its_rows_are_checked_like_those_of_training(tmp_path: Path) -> None:
    rows = [turn(), turn(), [{"role": "user", "content": "And?"}], None]
    messages = [f.message for f in found(tmp_path, rows) if f.place == "train.eval_split"]
    assert any("1 row (number 2) without an assistant's turn" in text for text in messages)
    assert any("1 row (number 3) without any messages" in text for text in messages)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("  eval_split: train\n", "the split that is trained"),
        ("  eval_split: test\n  eval_strategy: 'no'\n", "never evaluates it"),
        ("  eval_spilt: test\n", "eval_split"),
    ],
)
def test_a_contradiction_is_one_message_with_its_line(
    tmp_path: Path, lines: str, words: str
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"name: a\ntrain:\n  model_name: m\n  dataset_name: d\n{lines}")
    with pytest.raises(UserError) as refused:
        load_spec(file)
    assert words in str(refused.value)
    assert "s.yaml:5" in str(refused.value)
