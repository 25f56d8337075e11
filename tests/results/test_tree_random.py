"""Trees at random: every number that lies there is in the table, or what keeps it out is named."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest

from harness.results.table import Table
from harness.results.tree import collect_tree
from tests.results.trees import cell, lighteval, lm_eval, metrics, write

NAMES = (
    "checkpoint-5", "step_5", "global_step10", "final", "epoch_2", "base", "run", "runs", "a",
    "20260101-100000-aaaa", "eval", "eval-results", "results", "lm-eval", "temp-0", "gsm8k", "mmlu",
    "actor", "huggingface", "tmp-eval-results", "org__m", "checkpoints",
)  # fmt: skip


def plant(root: Path, dice: random.Random, score: float) -> None:
    """A file of one number somewhere in the tree, as one of the programs writes it."""
    folder = root.joinpath(*dice.choices(NAMES, k=dice.randint(0, 5)))
    name = dice.choice(("gsm8k", "mmlu", "own"))
    kind = dice.randint(0, 4)
    if kind == 0:
        write(folder / "metrics.json", metrics(score, name=name))
    elif kind == 1:
        write(folder / name / "metrics.json", metrics(score, name=name))
    elif kind == 2:
        cell(folder, score, name, state=dice.choice(("ok", "ok", "invalid")))
    elif kind == 3:
        lm_eval(folder, {name: {"acc,none": score / 100}}, dice.choice(("m", "/d/checkpoint-5")))
    else:
        lighteval(folder, {f"{name}|0": {"em": score / 100}}, dice.choice(("m", "o/step_5")))


def numbers(table: Table) -> set[float]:
    return {
        round(float(value), 6)
        for row in table.rows
        for value in row.values.values()
        if isinstance(value, int | float)
    }


@pytest.mark.long
def test_no_number_is_left_out_without_a_word_and_no_two_rows_are_alike() -> None:
    for seed in range(60):
        dice = random.Random(seed)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "tree"
            count = dice.randint(1, 6)
            for number in range(count):
                plant(root, dice, 20.5 + number)
            table = collect_tree(root)
            there = {
                file: 20.5 + n for n in range(count) for file in root.rglob("*.json")
                if f"{20.5 + n}" in file.read_text() or f"{(20.5 + n) / 100}" in file.read_text()
            }  # fmt: skip
            told = "\n".join(p.reason for p in table.problems)
            left = set(there.values()) - numbers(table)
            bad = {score for file, score in there.items() if str(file) in told}
            invalid = {
                score for file, score in there.items()
                if (file.parent / "task.json").is_file()
                and '"invalid"' in (file.parent / "task.json").read_text()
            }  # fmt: skip
            assert left <= bad | invalid, (seed, left)
            names = [(row.run, row.checkpoint) for row in table.rows]
            assert len(set(names)) == len(names), seed
            assert not table.is_complete or not left, seed
