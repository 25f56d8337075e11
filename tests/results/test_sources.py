"""What one folder's files say, and of which checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.results.names import Parts
from harness.results.sources import ALL, Found, Place, place_of, read_folder
from harness.results.walk import Walk
from tests.results.trees import cell, lighteval, lm_eval, metrics, ns, write


def found(tree: Path) -> list[Found]:
    """What every folder of a tree says."""
    root = len(tree.parts)
    return [each for folder in Walk(tree) for each in read_folder(folder, root)]


def places(tree: Path) -> list[tuple[str, Parts, str]]:
    """Checkpoint as seen from the tree, what is between, benchmark."""
    return [
        (os.path.relpath(Path(*f.place.checkpoint), tree), f.place.inner, f.benchmark)
        for f in found(tree)
    ]


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("r/step_5/eval-results/gsm8k/metrics.json", ("r/step_5", (), "gsm8k")),
        ("r/step_5/eval-results/metrics.json", ("r/step_5", (), ALL)),
        ("r/step_5/gsm8k/metrics.json", ("r/step_5", (), "gsm8k")),
        ("r/step_5/metrics.json", ("r/step_5", (), ALL)),
        ("r/step_5/eval-results/group/gsm8k/metrics.json", ("r/step_5", (), "group/gsm8k")),
        ("r/step_5/results/gsm8k/metrics.json", ("r/step_5", (), "gsm8k")),
        ("r/step_5/t0/eval-results/gsm8k/metrics.json", ("r/step_5", ("t0",), "gsm8k")),
        ("r/step_5/gsm8k_t0/metrics.json", ("r/step_5", ("gsm8k_t0",), ALL)),
        ("r/final/eval-results/gsm8k/metrics.json", ("r/final", (), "gsm8k")),
        ("r/final/gsm8k/metrics.json", ("r/final", (), "gsm8k")),
        ("r/final/metrics.json", ("r/final", (), ALL)),
        ("final/eval/gsm8k/metrics.json", ("final", (), "gsm8k")),
        ("step_1/checkpoint-5/metrics.json", ("step_1/checkpoint-5", (), ALL)),
        ("step_10/actor/huggingface/eval-results/metrics.json",
         ("step_10", ("actor", "huggingface"), ALL)),
        ("sft-step-2/final/metrics.json", ("sft-step-2/final", (), ALL)),
        ("eval-results/gsm8k/metrics.json", (".", (), "gsm8k")),
        ("metrics.json", (".", (), ALL)),
    ],
)  # fmt: skip
def test_whose_a_metrics_file_is(tmp_path: Path, file: str, place: tuple[str, Parts, str]) -> None:
    tree = tmp_path / "tree"
    write(tree / file, metrics(1.0))
    assert places(tree) == [place]


def test_folders_above_the_tree_name_a_checkpoint_only_for_the_trees_own(tmp_path: Path) -> None:
    above = tmp_path / "step_7" / "eval-results"
    ns(above.parent, 1.0)
    assert places(above) == [("..", (), "gsm8k")]
    assert places(above / "gsm8k") == [("../..", (), "gsm8k")]
    write(above / "exps" / "final" / "metrics.json", metrics(1.0))
    assert places(above / "exps") == [("final", (), ALL)]


def test_a_file_that_cannot_be_read_is_its_folders_benchmark_where_that_is_known(
    tmp_path: Path,
) -> None:
    for name in ("step_5/eval-results/x", "step_5/x", "final/gsm8k", "final/x"):
        write(tmp_path / name / "metrics.json", "{")
    assert [(p[0], p[2]) for p in places(tmp_path)] == [
        ("final", "gsm8k"), ("final/x", ALL), ("step_5", "x"), ("step_5", "x"),
    ]  # fmt: skip
    assert {f.state for f in found(tmp_path)} == {"invalid"}


@pytest.mark.parametrize(
    ("task", "state", "reason"),
    [
        ({"state": "ok"}, "ok", ""),
        ({"state": "failed", "reason": "it broke"}, "failed", "it broke"),
        ({"state": "odd"}, "invalid", "not a task record"),
        ("", "invalid", "cannot be read as JSON"),
        ("[1]", "ok", ""),  # somebody else's: then as a file without one
        ({"name": "sweep"}, "ok", ""),
    ],
)
def test_a_cell_of_ours_is_what_its_record_says(
    tmp_path: Path, task: object, state: str, reason: str
) -> None:
    cell(tmp_path / "step_5", 1.0)
    write(tmp_path / "step_5" / "gsm8k" / "task.json", task)
    (each,) = found(tmp_path)
    assert (each.benchmark, each.state) == ("gsm8k", state)
    assert reason in each.reason and bool(reason) == bool(each.reason)


def test_a_cell_that_says_ok_must_have_its_metrics(tmp_path: Path) -> None:
    file = cell(tmp_path / "step_5", 1.0)
    write(file, metrics(1.0, name="mmlu"))
    assert [f.reason for f in found(tmp_path)] == [f"{file}: no gsm8k in it"]
    file.unlink()
    assert [f.state for f in found(tmp_path)] == ["invalid"]
    assert "no such file" in found(tmp_path)[0].reason


def test_results_of_other_programs_are_of_the_checkpoint_above_or_of_the_model_they_name(
    tmp_path: Path,
) -> None:
    values = {"t": {"acc,none": 0.5}}
    lm_eval(tmp_path / "checkpoint-5" / "lm_eval", values, "/data/x/checkpoint-9")
    lm_eval(tmp_path / "out", values, "/data/x/checkpoint-9")
    lighteval(tmp_path / "checkpoint-6", {"t|0": {"acc": 0.5}}, "/data/x/checkpoint-9")
    lighteval(tmp_path / "light", {"t|0": {"acc": 0.5}}, "/data/x/checkpoint-9")
    lighteval(tmp_path / "light", {"t|0": {"acc": 0.5}}, "org/m")
    assert [p[:2] for p in places(tmp_path)] == [
        ("checkpoint-5", ()), ("checkpoint-6", ()), ("light/results/data/x/checkpoint-9", ()),
        ("light/results/org/m", ()), ("out/__data__x__checkpoint-9", ()),
    ]  # fmt: skip
    first = found(tmp_path)[0]
    assert (first.place.tool, first.place.model) == ("lm-eval", ("__data__x__checkpoint-9",))


def test_what_looks_like_results_and_is_none_is_named(tmp_path: Path) -> None:
    write(tmp_path / "step_5" / "results.json", {"accuracy": 1})
    (each,) = found(tmp_path)
    assert (each.state, each.benchmark) == ("not read", ALL)
    assert "neither lm-eval's nor lighteval's results" in each.reason


def test_metrics_of_grade_are_a_note_beside_others_and_not_read_alone(tmp_path: Path) -> None:
    ns(tmp_path / "step_5", 1.0)
    for folder in ("step_5/eval-results/gsm8k", "step_6/eval-results/gsm8k"):
        write(tmp_path / folder / "output.graded.jsonl.metrics.json", metrics(2.0))
    _, note, alone = found(tmp_path)
    assert (note.state, alone.state) == ("ok", "not read")
    assert note.notes == ["gsm8k: output.graded.jsonl.metrics.json of `grade` is not in the table"]
    assert "python -m harness collect FILE reads it" in alone.reason


def test_the_nearest_folder_called_like_a_checkpoint_inside_the_tree() -> None:
    home = ("/", "step_1", "tree", "step_5", "t0", "results")
    assert place_of(home, 3) == Place(home[:4], ("t0",))
    assert place_of(home, 5) == Place(home[:5])  # a container tells nothing
    assert place_of(home[:3], 2, otherwise=("/", "m")) == Place(home[:2], ("tree",))
