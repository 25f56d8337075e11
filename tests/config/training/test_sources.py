"""A list of sets to train on, as a user writes it: what is drawn, and one message per mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.load import load_spec
from harness.config.reading.source import dump
from harness.config.spec import Spec
from harness.config.training.script import script_arguments
from harness.config.training.sources import DataSource, from_text, to_text
from harness.config.training.train import TrainSpec
from harness.errors import UserError

HEAD = "train:\n  model_name: m\n"


def loaded(folder: Path, lines: str, *, rest: str = "") -> TrainSpec:
    file = folder / "mixed.yaml"
    file.write_text(f"{HEAD}{rest}  dataset_name:{lines}\n", encoding="utf-8")
    return load_spec(file).train


@pytest.mark.parametrize(
    ("weight", "cap", "rows", "drawn"),
    [
        (1.0, None, 7, 7), (2.5, None, 10, 25), (0.5, None, 7, 4), (0.1, None, 30, 3),
        (0.01, None, 10, 0), (3.0, 20, 10, 20), (1.0, 20, 10, 10), (1000, None, 3, 3000),
    ],
)  # fmt: skip
def test_rows_drawn_are_weight_times_rows_and_at_most_max_samples(
    weight: float, cap: int | None, rows: int, drawn: int
) -> None:
    assert DataSource(path="a", weight=weight, max_samples=cap).drawn(rows) == drawn


def test_each_set_has_the_split_of_all_unless_its_own_is_given(tmp_path: Path) -> None:
    lines = "\n    - {path: a}\n    - path: b\n      weight: 2\n      split: test\n    - {path: a, split: dev}"
    found = loaded(tmp_path, lines, rest="  dataset_split: big\n").sources
    assert [(s.path, s.weight, s.split) for s in found] == [
        ("a", 1.0, "big"), ("b", 2.0, "test"), ("a", 1.0, "dev"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (" []", "3: train.dataset_name: the list is empty"),
        ("\n  - path: a\n    wieght: 2", "5: train.dataset_name.0.wieght: unknown key; did you"),
        ("\n  - path: a\n    weight: 0", "5: train.dataset_name.0.weight: a number above 0"),
        ("\n  - path: a\n    weight: -1", "5: train.dataset_name.0.weight: a number above 0"),
        ("\n  - path: a\n    weight: .inf", "5: train.dataset_name.0.weight: a number is expected"),
        ("\n  - path: a\n    weight: .nan", "5: train.dataset_name.0.weight: a number is expected"),
        ("\n  - path: a\n    weight: 1e999", "5: train.dataset_name.0.weight: the number is too"),
        ("\n  - path: a\n    weight: 1001", "5: train.dataset_name.0.weight: a number of at most"),
        ("\n  - path: a\n    weight: yes", "5: train.dataset_name.0.weight: a number is expected"),
        ("\n  - path: a\n    max_samples: 0", "5: train.dataset_name.0.max_samples: a number of at"),
        ("\n  - path: a\n    max_samples: 1.5", "5: train.dataset_name.0.max_samples: a whole"),
        ("\n  - path: a\n  - path: ./a", "5: train.dataset_name.1.path: ./a is given twice"),
        ("\n  - weight: 2", "4: train.dataset_name.0.path: required"),
        ("\n  - path: ''", "4: train.dataset_name.0.path: it is empty"),
        ("\n  - a", "4: train.dataset_name.0: a mapping"),
        (" {path: a}", "3: train.dataset_name: text or a list is expected"),
        (" null", "3: train.dataset_name: text or a list is expected"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_told_once_with_file_line_and_field(
    tmp_path: Path, lines: str, told: str
) -> None:
    with pytest.raises(UserError) as caught:
        loaded(tmp_path, lines)
    assert str(caught.value).startswith(f"{tmp_path / 'mixed.yaml'}:{told}")
    assert str(caught.value).count("mixed.yaml") == (2 if "twice" in told else 1)


def test_the_split_that_is_measured_may_be_trained_of_no_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="eval_split: 'dev' is the split that is trained"):
        loaded(tmp_path, " [{path: a}, {path: b, split: dev}]", rest="  eval_split: dev\n")


HOSTILE = ['/a b/it\'s "so"', "/x $HOME `id` ü", "/new\nline", "[{}]", "/c: #d"]


def test_a_list_reaches_the_script_and_comes_back_whatever_its_paths_hold(tmp_path: Path) -> None:
    sources = [DataSource(path=p, weight=0.1 * i + 0.3, max_samples=i or None)
               for i, p in enumerate(HOSTILE)]  # fmt: skip
    assert from_text(to_text(sources)) == tuple(sources)
    spec = Spec.model_validate(
        {
            "name": "n",
            "train": {"model_name": "m", "dataset_name": [s.model_dump() for s in sources]},
        }
    )
    arguments = script_arguments(spec.train, tmp_path, tmp_path, None)
    assert from_text(arguments["dataset_sources"]) == tuple(sources)
    assert "dataset_name" not in arguments
    file = tmp_path / "again.yaml"
    file.write_text(dump(spec.model_dump(mode="json")), encoding="utf-8")
    assert load_spec(file).train.dataset_name == tuple(sources)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "a JSON list"), ("{}", "a JSON list"), ("3", "a JSON list"), ("[{", "a JSON list"),
        ("[3]", "0: "), ('[{"path": ""}]', "0.path: "), ('[{"weight": 1}]', "0.path: "),
    ],
)  # fmt: skip
def test_what_is_no_list_of_sets_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        from_text(text)
