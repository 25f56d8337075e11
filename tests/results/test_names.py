"""Steps in checkpoints' names, labels that tell apart, an order in which numbers count."""

from __future__ import annotations

import pytest

from harness.results.names import distinct, is_checkpoint_name, natural, run_names, run_of, step_of

RUN = ("/", "runs", "lr1e-5", "20260101-100000-aaaa")


@pytest.mark.parametrize(
    ("name", "step", "whole"),
    [
        ("base", 0, True), ("checkpoint-500", 500, True), ("checkpoint_500", 500, True),
        ("global_step1000", 1000, True), ("global_step_1000", 1000, True), ("step_1500", 1500, True),
        ("step-2000", 2000, True), ("step2", 2, True), ("steps_2", 2, True), ("iter_0002500", 2500, True),
        ("iteration-3", 3, True), ("ckpt_1", 1, True), ("ckpt1", 1, True), ("STEP=7", 7, True),
        ("__data__checkpoint-500", 500, False), ("epoch=1-step=500", 500, False),
        ("llama-ckpt-3", 3, False),
        ("checkpoint-3000-merged", None, False), ("epoch-3", None, False), ("final", None, False),
        ("hf-ckpt", None, False), ("checkpoint-", None, False), ("checkpoint", None, False),
        ("math-500", None, False), ("aime24", None, False), ("multistep5", None, False),
        ("500", None, False), ("checkpoint-५", None, False), ("", None, False),
    ],
)  # fmt: skip
def test_the_step_of_a_checkpoint_whichever_trainer_named_it(
    name: str, step: int | None, whole: bool
) -> None:
    assert (step_of(name), is_checkpoint_name(name)) == (step, whole)


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["epoch_10", "final", "epoch_2", "1", "a", "a1", "10", "9", "Epoch_3", ""]
    assert sorted(names, key=natural) == [
        "", "1", "9", "10", "a", "a1", "epoch_2", "Epoch_3", "epoch_10", "final",
    ]  # fmt: skip


def test_a_run_is_the_next_folder_that_tells_something() -> None:
    assert run_of((*RUN, "eval", "checkpoint-5")) == RUN
    assert run_of(("/", "r", "eval-results", "results", "step_5")) == ("/", "r")
    assert run_of(("/", "eval")) == ("/",)


def test_a_run_of_ours_goes_by_its_name_and_another_by_its_folder() -> None:
    assert run_names(RUN)[:2] == ["lr1e-5", "lr1e-5/20260101-100000-aaaa"]
    assert run_names(("/", "a", "b")) == ["b", "a/b", "//a/b"]


def test_names_are_as_short_as_they_may_be_to_tell_apart() -> None:
    names = {1: ["x", "a/x"], 2: ["x", "b/x"], 3: ["y", "a/y"]}
    assert distinct(names) == {1: "a/x", 2: "b/x", 3: "y"}
    same = {1: ["x", "x"], 2: ["x", "x"]}
    assert distinct(same) == {1: "x", 2: "x"}, "it ends where nothing tells them apart"
    assert distinct({}) == {}
