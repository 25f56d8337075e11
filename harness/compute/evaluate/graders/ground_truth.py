"""What the tests of HumanEval+ and MBPP+ expect: computed once, read by every grading.

EvalPlus runs the reference solutions to get the expected outputs and keeps them in one pickle a
data set (up to 800 MB in memory). Here each task has a compressed file of its own, so that a
helper reads only what it needs.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

from harness.errors import EvaluationError, ResultError
from harness.package import needs

# EvalPlus' limit for one suite of tests and what it adds before it kills the program (seconds).
_SUITE_LIMIT_S = 60.0
SUITE_GRACE_S = 2.0
# The reference solution of Mbpp/599 takes half of that on an idle machine, and all of it on a busy
# one. EvalPlus' own factor for single tests, here for such a suite.
_SUITE_FACTOR = 4.0
_INDEX = "index.json"
# Bump when the content of the files changes.
_FORMAT = 2


def prepare_ground_truth(dataset: str, dataset_file: Path, cache_dir: Path) -> Path:
    """Compute (or find) the expected outputs of a data set; return their folder.

    `dataset` is `humaneval` or `mbpp`, `dataset_file` EvalPlus' release file (`.jsonl` or
    `.jsonl.gz`). The folder's name holds the file's hash; it appears only once whole, so that
    several processes may prepare it at a time. Runs the reference solutions in this process.
    Two minutes on one core and 2 GB of memory for the larger one: do it before the jobs.

    Raises:
        EvaluationError: evalplus is not installed, or the file is not of this data set.
    """
    raw = dataset_file.read_bytes()
    content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    digest = hashlib.sha256(content).hexdigest()
    folder = cache_dir / f"{dataset}-{digest[:16]}-v{_FORMAT}"
    if (folder / _INDEX).is_file():
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=cache_dir) as name:
        new = Path(name) / "new"
        new.mkdir()
        tasks = [json.loads(line) for line in content.splitlines() if line.strip()]
        index = {task["task_id"]: _write_task(dataset, task, new) for task in tasks}
        (new / _INDEX).write_text(json.dumps({"dataset": dataset, "tasks": index}, indent=1))
        try:
            os.replace(new, folder)
        except OSError:  # another process was faster
            if not (folder / _INDEX).is_file():
                raise
    return folder


def read_index(folder: Path, dataset: str) -> dict[str, dict[str, Any]]:
    """Task id -> `{"file", "prompt", "limits_s": {suite: seconds}}`, as prepared.

    Raises:
        ResultError: there is no such folder, or it is of another data set.
    """
    try:
        index = json.loads((folder / _INDEX).read_text())
    except (OSError, ValueError) as error:
        raise ResultError(
            f"no prepared ground truth in {folder}: {error}; run `harness prepare` first"
        ) from error
    if index.get("dataset") != dataset:
        raise ResultError(f"{folder} is the ground truth of {index.get('dataset')}, not {dataset}")
    tasks: dict[str, dict[str, Any]] = index["tasks"]
    return tasks


def _write_task(dataset: str, task: dict[str, Any], folder: Path) -> dict[str, Any]:
    try:
        from evalplus.data.mbpp import mbpp_deserialize_inputs
        from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
        from evalplus.gen.util import trusted_exec
    except ImportError as error:
        raise EvaluationError(
            f"the code benchmarks need evalplus: {needs('code')} ({error})"
        ) from error
    try:
        code = task["prompt"] + task["canonical_solution"]
        entry_point, atol = task["entry_point"], task["atol"]
        suites = {"base": task["base_input"], "plus": task["plus_input"]}
    except KeyError as error:
        raise EvaluationError(
            f"a task of {dataset} has no {error}: not an EvalPlus file"
        ) from error
    not_none = dataset == "mbpp" and entry_point in MBPP_OUTPUT_NOT_NONE_TASKS
    truth: dict[str, Any] = {"entry_point": entry_point, "atol": atol}
    for suite, inputs in suites.items():
        if dataset == "mbpp":
            inputs = mbpp_deserialize_inputs(task["task_id"], inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some reference solutions have unclean strings
            expected, times = trusted_exec(
                code, inputs, entry_point, record_time=True, output_not_none=not_none
            )
        truth[suite] = {"inputs": inputs, "expected": expected, "times": times}
    name = re.sub(r"\W", "_", task["task_id"]) + ".pkl.gz"
    with gzip.open(folder / name, "wb", compresslevel=1) as out:
        pickle.dump(truth, out, protocol=pickle.HIGHEST_PROTOCOL)
    limits = {suite: suite_limit_s(sum(truth[suite]["times"])) for suite in suites}
    return {"file": name, "prompt": task["prompt"], "limits_s": limits}


def suite_limit_s(reference_s: float) -> float:
    """How long a program may take for all tests of a suite (seconds), given the reference's time."""
    return max(_SUITE_LIMIT_S, _SUITE_FACTOR * reference_s) + SUITE_GRACE_S
