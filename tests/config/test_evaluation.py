"""How checkpoints are evaluated: bounds of every number, benchmarks once, checkpoints by step."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.evaluation import EvaluationSpec, Sampling
from harness.config.load import load_spec
from tests.config.test_load import GOOD, message, spec_file


def evaluation(folder: Path, *settings: str) -> EvaluationSpec:
    spec = load_spec(spec_file(folder, GOOD), [f"evaluation.{setting}" for setting in settings])
    assert spec.evaluation is not None
    return spec.evaluation


def test_what_is_unset_is_every_checkpoint_on_all_items(tmp_path: Path) -> None:
    found = evaluation(tmp_path)
    assert (found.checkpoints, found.base_model, found.max_items) == ("all", False, None)
    assert (found.judge, found.time_limit) == (None, None)
    assert not found.allow_unsandboxed_code
    assert found.sampling == Sampling()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("checkpoints=last", "last"), ("checkpoints=[500, 1000]", (500, 1000)),
     ("checkpoints=all", "all")],
)  # fmt: skip
def test_checkpoints_are_all_the_last_or_steps(
    tmp_path: Path, setting: str, expected: object
) -> None:
    assert evaluation(tmp_path, setting).checkpoints == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("first", ": 'all', 'last' or a list is expected (got 'first')"),
        ("lst", ": 'all', 'last' or a list is expected; did you mean 'last'? (got 'lst')"),
        ("[last]", ".0: a whole number is expected (got 'last')"),
        ("[500, 1.5]", ".1: a whole number is expected (got 1.5)"),
        ("[true]", ".0: a whole number is expected (got true)"),
        ("[0]", ".0: a number of at least 1 is expected (got 0)"),
        ("5", ": 'all', 'last' or a list is expected (got 5)"),
        ("null", ": 'all', 'last' or a list is expected (got null)"),
        ("true", ": 'all', 'last' or a list is expected (got true)"),
        ("{a: 1}", ": 'all', 'last' or a list is expected (got a mapping)"),
    ],
)
def test_other_checkpoints_are_refused_with_the_words_that_may_stand_there(
    tmp_path: Path, value: str, words: str
) -> None:
    told = message(tmp_path, GOOD, f"evaluation.checkpoints={value}")
    assert told.startswith(f"--set evaluation.checkpoints={value}: evaluation.checkpoints")
    assert words in told


@pytest.mark.parametrize(
    ("benchmarks", "words"),
    [
        ("[]", "a list of at least 1 is expected"),
        ("gsm8k", "a list is expected (got 'gsm8k')"),
        ("[gsm8k, mmlu, gsm8k, mmlu, ifeval]", "named twice: gsm8k, mmlu"),
        ("['gsm8k:4', 'gsm8k:4']", "named twice: gsm8k:4"),
        ("[mmlu, gsm8k, 'gsm8k:4']", "named twice: gsm8k (gsm8k, gsm8k:4)"),
        ("null", "a list is expected (got null)"),
    ],
)
def test_benchmarks_are_a_list_without_doubles(tmp_path: Path, benchmarks: str, words: str) -> None:
    told = message(tmp_path, GOOD, f"evaluation.benchmarks={benchmarks}")
    assert f"evaluation.benchmarks={benchmarks}: evaluation.benchmarks: " in told
    assert words in told


def test_benchmarks_stay_in_the_order_in_which_they_were_given(tmp_path: Path) -> None:
    names = ("mmlu", "gsm8k", "arithmetic")
    assert evaluation(tmp_path, f"benchmarks=[{', '.join(names)}]").benchmarks == names


@pytest.mark.parametrize(
    "setting",
    ["sampling.temperature=0", "sampling.top_p=1", "sampling.max_tokens=1", "sampling.seed=0",
     "max_items=1", "concurrency=1", "request_timeout_minutes=0.1", "time_limit=90"],
)  # fmt: skip
def test_the_least_that_makes_sense_is_taken(tmp_path: Path, setting: str) -> None:
    assert evaluation(tmp_path, setting)


@pytest.mark.parametrize(
    "setting",
    ["sampling.temperature=-0.1", "sampling.temperature=nan", "sampling.top_p=0",
     "sampling.top_p=1.01", "sampling.max_tokens=0", "sampling.seed=-1", "max_items=0",
     "concurrency=0", "request_timeout_minutes=0", "tasks=two", "time_limit=1h"],
)  # fmt: skip
def test_less_is_refused_by_name_with_what_was_given(tmp_path: Path, setting: str) -> None:
    field, _, value = setting.partition("=")
    told = message(tmp_path, GOOD, f"evaluation.{setting}")
    assert told.startswith(f"--set evaluation.{setting}: evaluation.{field}: ")
    assert value in told.rpartition("(got ")[2]
    assert "\n" not in told


def test_greedy_and_no_seed_are_not_the_same_as_unset(tmp_path: Path) -> None:
    sampling = evaluation(tmp_path, "sampling={temperature: 0}").sampling
    assert sampling.temperature == 0
    assert sampling.model_fields_set == {"temperature"}


def test_a_misspelt_field_of_a_section_offers_the_nearest(tmp_path: Path) -> None:
    told = message(tmp_path, GOOD, "evaluation.sampling.temprature=1")
    assert "evaluation.sampling.temprature: unknown key; did you mean 'temperature'?" in told
    assert told.endswith("known: by_category, max_tokens, seed, temperature, top_p")
