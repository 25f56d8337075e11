"""The helper process of the code grader, inside the sandbox: `python -m` this module.

It grades a program as EvalPlus at c91370f does, the commit that NeMo-Skills
(0b012df) pins, except that
the program's own process (code_program.py) knows neither the expected outputs nor the comparison,
and what it returns is compared as plain data (code_values.py). EvalPlus 0.3.1 gives the guards, the
task lists and the oracle, but its own loop grades differently: it fails every solution of
HumanEval/32 (its oracle forgets to count the tests), knows two more oracles (Mbpp/558, Mbpp/581), and
asks for the reference's type where numbers are compared within a tolerance.
"""

from __future__ import annotations

import base64
import gzip
import os
import pickle
import sys
from typing import Any

from harness.compute.evaluate.graders.code_program import (
    Program,
    Silent,
    Work,
    hide_this_process,
)
from harness.compute.evaluate.graders.code_values import unpacked
from harness.compute.evaluate.graders.ground_truth import SUITE_GRACE_S
from harness.compute.evaluate.sandbox import sandbox

SUITES = ("base", "plus")
_SCRATCH = ("/tmp", "/dev/shm")


def main() -> None:
    """Answer tasks until the input ends. Arguments: data set, mode.

    The mode is `sandboxed` (all processes and scratch files to be seen are this sandbox's) or
    `open`.
    """
    from harness.compute.evaluate.graders.workers import serve

    dataset, mode = sys.argv[1:]
    sandboxed = mode == "sandboxed"
    if sandboxed:
        sandbox.limit_myself(sandbox.Limits())
    import evalplus.eval  # noqa: F401  (slow: before "ready")

    source, sink = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    hide_this_process()
    grading = _Grading(dataset, (source, sink))
    serve(
        grading.answer,
        source,
        sink,
        before=grading.fork,
        retire=_left_behind if sandboxed else None,
    )


class _Grading:
    """One task after the other; the processes of its program are there before the task is."""

    def __init__(self, dataset: str, private: tuple[int, ...]) -> None:
        self._dataset, self._private = dataset, private
        self._programs: dict[str, Program] = {}

    def fork(self) -> None:
        """For the next task. What it expects is not in this process yet."""
        self._programs = {}
        for suite in SUITES:
            others = [program.fileno() for program in self._programs.values()]
            self._programs[suite] = Program([*self._private, *others])

    def answer(self, task: dict[str, Any]) -> dict[str, str]:
        """`pass`, `fail` or `timeout` for each suite."""
        truth = pickle.loads(gzip.decompress(base64.b64decode(task.pop("truth"))))
        statuses = {}
        for suite in SUITES:
            program = self._programs[suite]
            statuses[suite] = self._run(program, suite, truth, task)
            program.end()  # before the other suite, whose program is to meet nothing of it
        return statuses

    def _run(
        self, program: Program, suite: str, truth: dict[str, Any], task: dict[str, Any]
    ) -> str:
        """Source: EvalPlus `untrusted_check` with fast_check; who is silent is out of time."""
        from evalplus.eval._special_oracle import MBPP_OUTPUT_SET_EQ_TASKS

        tests, entry_point, atol = truth[suite], truth["entry_point"], truth["atol"]
        limits_s = [max(task["min_limit_s"], task["limit_factor"] * s) for s in tests["times"]]
        as_sets = self._dataset == "mbpp" and entry_point in MBPP_OUTPUT_SET_EQ_TASKS
        work = Work(task["solution"], entry_point, tests["inputs"], limits_s, as_sets)
        try:
            program.give(work, min(task["limits_s"][suite], sum(limits_s) + SUITE_GRACE_S))
            for inputs, expected in zip(tests["inputs"], tests["expected"], strict=True):
                output = unpacked(program.output())
                if atol == 0 and _is_floats(expected):
                    atol = 1e-6  # from here on, as EvalPlus has it
                if not is_right(self._dataset, entry_point, inputs, output, expected, atol):
                    return "fail"
        except Silent:
            return "timeout"
        except Exception:  # it raised, or its output cannot be compared
            return "fail"
        return "pass"


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
