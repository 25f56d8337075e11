"""The helper process of the code grader, inside the sandbox: `python -m` this module.

It runs a program against a task's tests as EvalPlus at c91370f does, the commit that NeMo-Skills
(0b012df) pins. EvalPlus 0.3.1 gives the guards, the task lists and the oracle, but its own loop grades
differently: it fails every solution of HumanEval/32 (its oracle forgets to count the tests),
knows two more oracles (Mbpp/558, Mbpp/581), and asks for the reference's type where numbers are
compared within a tolerance.
"""

from __future__ import annotations

import functools
import gzip
import multiprocessing
import os
import pickle
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from harness.compute.evaluate.graders.ground_truth import SUITE_GRACE_S
from harness.compute.evaluate.sandbox import sandbox

_PROGRAM_MEMORY_BYTES = 4 << 30
_PASS, _FAIL, _UNKNOWN = 0, 1, 3
_STATUS = {_PASS: "pass", _FAIL: "fail"}
_SCRATCH = ("/tmp", "/dev/shm")


def main() -> None:
    """Answer tasks until the input ends. Arguments: data set, ground-truth folder, mode.

    The mode is `sandboxed` (all processes and scratch files to be seen are this sandbox's) or
    `open`.
    """
    from harness.compute.evaluate.graders.workers import serve

    dataset, folder, mode = sys.argv[1:]
    sandboxed = mode == "sandboxed"
    if sandboxed:
        sandbox.limit_myself(sandbox.Limits())
    import evalplus.eval  # noqa: F401  (slow: before "ready")

    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    answer = functools.partial(_answer, dataset, Path(folder), (source, sink))
    serve(answer, source, sink, retire=_left_behind if sandboxed else None)


def _answer(
    dataset: str, folder: Path, private: tuple[int, ...], task: dict[str, Any]
) -> dict[str, str]:
    with gzip.open(folder / task["file"], "rb") as stream:
        truth = pickle.load(stream)
    return {suite: _run_suite(dataset, truth, suite, task, private) for suite in ("base", "plus")}


def _run_suite(
    dataset: str, truth: dict[str, Any], suite: str, task: dict[str, Any], private: tuple[int, ...]
) -> str:
    """`pass`, `fail` or `timeout`. Source: EvalPlus `untrusted_check` with fast_check."""
    limits = [max(task["min_limit_s"], task["limit_factor"] * s) for s in truth[suite]["times"]]
    context = multiprocessing.get_context("fork")
    # Without a lock: a program could take it and never give it back.
    status = context.RawValue("i", _UNKNOWN)
    folder = tempfile.mkdtemp()
    child = context.Process(
        target=_execute,
        args=(private, folder, dataset, truth, suite, task["solution"], limits, status),
    )
    child.start()
    child.join(min(task["limits_s"][suite], sum(limits) + SUITE_GRACE_S))
    if child.is_alive():
        child.kill()
        child.join()
    shutil.rmtree(folder, ignore_errors=True)
    return _STATUS.get(status.value, "timeout")


def _execute(
    private: tuple[int, ...],
    folder: str,
    dataset: str,
    truth: dict[str, Any],
    suite: str,
    solution: str,
    limits: list[float],
    status: Any,
) -> None:
    from evalplus.eval.utils import reliability_guard, swallow_io, time_limit

    # The program must not write answers of its own.
    for descriptor in private:
        os.close(descriptor)
    os.setsid()
    os.chdir(folder)
    leave = os._exit  # the program may replace it
    entry_point, atol, tests = truth["entry_point"], truth["atol"], truth[suite]
    reliability_guard(maximum_memory_bytes=_PROGRAM_MEMORY_BYTES)
    try:
        names: dict[str, Any] = {}
        with swallow_io():
            exec(solution, names)
        function = names[entry_point]
        for inputs, expected, limit in zip(tests["inputs"], tests["expected"], limits, strict=True):
            with time_limit(limit), swallow_io():
                output = function(*inputs)
            if atol == 0 and _is_floats(expected):
                atol = 1e-6  # from here on, as EvalPlus has it
            if not is_right(dataset, entry_point, inputs, output, expected, atol):
                raise AssertionError
        status.value = _PASS
    except BaseException:
        status.value = _FAIL
    leave(0)


def is_right(
    dataset: str, entry_point: str, inputs: Any, output: Any, expected: Any, atol: float
) -> bool:
    """Whether an output counts as the expected one; may raise, which counts as wrong.

    Source: EvalPlus at c91370f, `evalplus/eval/__init__.py`, `unsafe_execute`.
    """
    import numpy as np
    from evalplus.eval._special_oracle import (
        MBPP_OUTPUT_NOT_NONE_TASKS,
        MBPP_OUTPUT_SET_EQ_TASKS,
        _poly,
    )

    exact = output == expected
    if dataset == "mbpp":
        if entry_point == "are_equivalent":  # Mbpp/164: its reference is wrong
            exact = True
        elif entry_point == "sum_div":  # Mbpp/295: 0 counts too
            exact = exact or output == 0
        elif entry_point in MBPP_OUTPUT_SET_EQ_TASKS:
            exact = set(output) == set(expected)
        elif entry_point in MBPP_OUTPUT_NOT_NONE_TASKS and not isinstance(output, bool):
            exact = expected == (output is not None)
    elif entry_point == "find_zero" and not _poly(*inputs, output) <= atol:  # HumanEval/32
        return False
    if not exact and atol != 0:
        # rtol: the default of numpy.testing.assert_allclose
        return bool(np.allclose(output, expected, rtol=1e-07, atol=atol))
    return bool(exact)


def _is_floats(value: Any) -> bool:
    import numpy as np

    if isinstance(value, (list, tuple)):
        return all(isinstance(each, float) for each in value)  # an empty one too
    if isinstance(value, np.ndarray):
        return bool(value.dtype in (np.float64, np.float32))
    return isinstance(value, float)


def _left_behind() -> bool:
    """Whether a program's processes or files outlive it (then the sandbox is thrown away)."""
    mine = {"1", str(os.getpid())}
    if any(name.isdigit() and name not in mine for name in os.listdir("/proc")):
        return True
    return any(_own_files(folder) for folder in _SCRATCH)


def _own_files(folder: str) -> bool:
    device = os.stat(folder).st_dev
    # What is mounted into the folder (a Python installation below /tmp) is not a file of ours;
    # the folders that lead to it are on our device, but they are not writable files.
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if _device(os.path.join(path, name)) == device]
        if files:
            return True
    return False


def _device(path: str) -> int:
    try:
        return os.lstat(path).st_dev
    except OSError:
        return -1


if __name__ == "__main__":
    main()
