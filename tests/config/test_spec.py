"""One experiment: its name, its templates, and a ranking that has something to rank by."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.load import load_spec
from tests.config.test_load import GOOD, message, spec_file

BEST = "train.keep_checkpoints=best:2"
MANY = "evaluation.benchmarks=['gsm8k:4', nemo-skills.aime24, lm-eval.mmlu]"


@pytest.mark.parametrize("name", ["a", "0", "A.b_c-1", "x" * 80, "a..", "v1.0"])
def test_a_name_is_that_of_a_folder(tmp_path: Path, name: str) -> None:
    assert load_spec(spec_file(tmp_path, GOOD), [f"name='{name}'"]).name == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-a", "_a", "a/b", "a b", "a'b", 'a"b', "a\nb", "ü", "x" * 81],
)
def test_a_name_that_could_leave_its_place_is_refused(tmp_path: Path, name: str) -> None:
    quoted = '"' + name.replace('"', '\\"').replace("\n", "\\n") + '"'
    told = message(tmp_path, GOOD, f"name={quoted}")
    assert told.startswith(f"--set name={quoted}: name: letters, digits, '.', '_' and '-' only, ")
    assert told.endswith(f"at most 80 (got {name!r})")


def test_a_spec_without_evaluation_only_trains(tmp_path: Path) -> None:
    spec = load_spec(spec_file(tmp_path, GOOD.partition("evaluation:")[0]))
    assert spec.evaluation is None


def test_the_base_model_is_served_with_what_its_checkpoints_are_trained_with(
    tmp_path: Path,
) -> None:
    spec = load_spec(spec_file(tmp_path, GOOD))
    assert (spec.base_model, spec.base_template, spec.trained_template) == ("m", None, None)
    template = "/t/it's ü.jinja"
    spec = load_spec(spec_file(tmp_path, GOOD), [f'train.chat_template_path="{template}"'])
    assert spec.base_template == spec.trained_template == template


def test_the_best_checkpoints_need_an_evaluation(tmp_path: Path) -> None:
    told = message(tmp_path, GOOD.partition("evaluation:")[0], BEST)
    assert told.endswith("train.keep_checkpoints: best:N needs an evaluation to rank by")
    assert load_spec(spec_file(tmp_path, GOOD), [BEST]).train.keep_best == 2


@pytest.mark.parametrize(
    "metric",
    ["gsm8k/pass@1/symbolic_correct", "nemo-skills.aime24/pass@1/x", "lm-eval.mmlu/pass@1/acc"],
)
def test_they_are_ranked_by_a_metric_of_a_benchmark_that_is_run(
    tmp_path: Path, metric: str
) -> None:
    spec = load_spec(spec_file(tmp_path, GOOD), [BEST, MANY, f"train.best_metric={metric}"])
    assert spec.train.best_metric == metric


@pytest.mark.parametrize(
    "metric",
    [
        "mmlu/pass@1/symbolic_correct",
        "gsm8k:4/a/b",
        "/a",
        "gsm8k",
        "gsm8k/pass@1",
        "gsm8k//x",
        "gsm8k/a/",
    ],
)
def test_a_metric_of_none_of_them_names_those_there_are(tmp_path: Path, metric: str) -> None:
    told = message(tmp_path, GOOD, BEST, MANY, f"train.best_metric={metric}")
    assert f"train.best_metric: {metric}: <benchmark>/<aggregation>/<metric>" in told
    assert "of one of gsm8k, nemo-skills.aime24, lm-eval.mmlu is expected, such as" in told
