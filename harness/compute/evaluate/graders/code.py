"""Grading of programs (human-eval, mbpp) by the tests of HumanEval+ and MBPP+.

Source of the rules: NeMo-Skills (0b012df) `evaluation/evaluator/code.py` (`preprocess_code`,
`eval_evalplus`); the tests are EvalPlus', run in a sandbox.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.compute.evaluate.graders import ground_truth as truth
from harness.compute.evaluate.graders.responses import strip_reasoning
from harness.compute.evaluate.graders.workers import Command, Failure, run_tasks
from harness.compute.evaluate.sandbox import sandbox
from harness.errors import EvaluationError

_RUNNER = "harness.compute.evaluate.graders.code_runner"
_PACKAGES = ("evalplus", "numpy", "psutil")
_FENCE = "```"
# Beside its tests: to read the task and to start programs on a busy machine.
_OVERHEAD_S = 60.0


class CodeGrader:
    """Programs against the base and the plus tests.

    `dataset` is `humaneval` or `mbpp`; `ground_truth` the folder of `prepare_ground_truth`.
    A test may take `min_time_limit` seconds, or `gt_time_limit_factor` times what the reference
    solution took if that is more. EvalPlus' own 1 s and 4 make grades depend on the machine's load.
    `allow_unsandboxed` runs the programs as they are where there is no sandbox: only for machines
    that are thrown away.
    """

    def __init__(
        self,
        dataset: str,
        *,
        ground_truth: Path,
        min_time_limit: float = 5.0,
        gt_time_limit_factor: float = 20.0,
        allow_unsandboxed: bool = False,
        limits: sandbox.Limits | None = None,
    ) -> None:
        self._dataset = dataset
        self._folder = ground_truth.resolve()
        self._limits = limits or sandbox.Limits()
        self._allow_unsandboxed = allow_unsandboxed
        self._times = {"min_limit_s": min_time_limit, "limit_factor": gt_time_limit_factor}

    def grade(
        self, items: Sequence[Mapping[str, Any]], responses: Sequence[str], *, workers: int = 2
    ) -> list[dict[str, Any]]:
        """For each row `completion`, `is_correct`, `is_correct-plus`, `base_status`, `plus_status`.

        A status is `pass`, `fail` or `timeout`. A program passes plus only if it passes base too.
        One that breaks its sandbox twice fails both. Items need `id`, EvalPlus' task id.

        Raises:
            ResultError: there is no ground truth of this data set in the folder.
            EvaluationError: no sandbox on this machine, a package missing, or an unknown task.
        """
        known = truth.read_index(self._folder, self._dataset)
        if unknown := [item["id"] for item in items if item["id"] not in known]:
            raise EvaluationError(f"{self._folder} has no task {unknown[0]}")
        completions = [extract_code(strip_reasoning(response)) for response in responses]
        named = [known[item["id"]] for item in items]
        tasks = _Tasks(self._folder, named, completions, self._times)
        limits_s = [sum(task["limits_s"].values()) + _OVERHEAD_S for task in named]
        verdicts = run_tasks(self._command(), tasks, limits_s, workers)
        return [_row(*pair) for pair in zip(completions, verdicts, strict=True)]

    def _command(self) -> Command:
        argv, readable, path = sandbox.python_command(_RUNNER, _PACKAGES)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **threads}
        if libraries := os.environ.get("LD_LIBRARY_PATH"):
            environment["LD_LIBRARY_PATH"] = libraries
        arguments = [*argv, self._dataset]
        watch = sandbox.watcher(self._limits)
        try:
            command = sandbox.sandboxed(
                [*arguments, "sandboxed"],
                readable=readable,  # not what the tests expect: a program could return it
                environment=environment,
                limits=self._limits,
            )
        except EvaluationError as error:
            if not self._allow_unsandboxed:
                raise
            print(f"warning: model-written programs run UNSANDBOXED: {error}", file=sys.stderr)
            home = {"PATH": os.environ.get("PATH", os.defpath), **environment}
            return Command([*arguments, "open"], env=home, watch=watch)
        return Command(command, env={}, watch=watch)


class _Tasks(Sequence[dict[str, Any]]):
    """What a helper is given, made when its turn comes: the expected outputs take hundreds of MB."""

    def __init__(
        self,
        folder: Path,
        named: Sequence[Mapping[str, Any]],
        completions: Sequence[str],
        times: Mapping[str, float],
    ) -> None:
        self._folder, self._named, self._completions = folder, named, completions
        self._times = times

    def __len__(self) -> int:
        return len(self._named)

    def __getitem__(self, number: Any) -> Any:
        known = self._named[number]
        truth = (self._folder / known["file"]).read_bytes()
        return {
            "truth": base64.b64encode(truth).decode(),
            "solution": known["prompt"] + self._completions[number],
            "limits_s": known["limits_s"],
            **self._times,
        }


def _row(completion: str, verdict: Any) -> dict[str, Any]:
    statuses = {"base": "fail", "plus": "fail"}
    if isinstance(verdict, Failure):
        statuses = dict.fromkeys(statuses, "timeout" if verdict.timed_out else "fail")
    elif isinstance(verdict, dict) and verdict.keys() == statuses.keys():
        statuses = verdict
    base = statuses["base"] == "pass"
    return {
        "completion": completion,
        "is_correct": base,
        "is_correct-plus": base and statuses["plus"] == "pass",
        "base_status": statuses["base"],
        "plus_status": statuses["plus"],
    }


def extract_code(text: str) -> str:
    """The program in a response, empty where its `<think>` never closes.

    The first ```` ```python ```` block, else the first ```` ``` ```` block (what follows its
    opening fence on the same line is part of it), else all of it. A block that does not close
    runs to the end.
    """
    text = text.strip().replace("\r", "")
    if "<think>" in text:
        _, closed, text = text.partition("</think>")
        if not closed:
            return ""
        text = text.strip()
    for fence in (f"{_FENCE}python", _FENCE):
        if fence in text:
            text = text.split(fence, 1)[1].strip()
            return text.split(_FENCE, 1)[0].strip()
    return text.strip() if text.startswith(" ") else text


GRADER = CodeGrader
