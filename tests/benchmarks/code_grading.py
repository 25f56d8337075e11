"""Grading all canonical solutions of HumanEval+ and MBPP+: seconds, and 100.0 / 100.0 every time.

    python -m tests.benchmarks.code_grading [TIMES] [WORKERS]

Needs the real data (`tests/support.py`), evalplus and a sandbox. The first time computes the
expected outputs, minutes, which `prepare` does once on a cluster; its time is printed apart.
Exits 1 when a canonical solution fails.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
import time
from pathlib import Path

from harness.compute.evaluate.graders import grader_of
from harness.compute.evaluate.graders.ground_truth import prepare_ground_truth
from tests.support import shared_data

SETS = (("human-eval", "humaneval", "HumanEvalPlus"), ("mbpp", "mbpp", "MbppPlus"))


def main(times: int = 3, workers: int = 2) -> None:
    data = shared_data()
    if data is None:
        sys.exit("the folder of real benchmark data is not on this machine")
    right = True
    with tempfile.TemporaryDirectory() as folder:
        for name, dataset, file in SETS:
            path = data / f"{file}.jsonl.gz"
            began = time.monotonic()
            truth = prepare_ground_truth(dataset, path, Path(folder))
            print(f"{name}: expected outputs in {time.monotonic() - began:.0f} s", flush=True)
            with gzip.open(path, "rt") as lines:
                tasks = [json.loads(line) for line in lines]
            items = [{"id": task["task_id"]} for task in tasks]
            # EvalPlus' solutions go on where the prompt ends; whole, they are a program.
            answers = [task["prompt"] + task["canonical_solution"] for task in tasks]
            grader = grader_of(f"code:{name}", ground_truth=truth)
            for number in range(times):
                began = time.monotonic()
                grades = grader.grade(items, answers, workers=workers)
                seconds = time.monotonic() - began
                base, plus = (
                    100 * sum(grade[key] for grade in grades) / len(grades)
                    for key in ("is_correct", "is_correct-plus")
                )
                failed = [
                    item["id"]
                    for item, grade in zip(items, grades, strict=True)
                    if not grade["is_correct-plus"]
                ]
                right = right and not failed
                print(f"{name} {number + 1} of {times}: base {base:.1f} plus {plus:.1f}, "
                      f"{len(grades)} programs in {seconds:.0f} s{f'; failed: {failed}' if failed else ''}",
                      flush=True)  # fmt: skip
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
