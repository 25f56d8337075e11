"""Programs run against a task's tests: which output is right, and what ends a program.

The programs here are our own, so they run as they are; hostile ones are in ../sandbox.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.compute.evaluate.graders.code_runner import _is_floats, _own_files, is_right
from tests.support import ROOT

pytest.importorskip("evalplus", reason="evalplus is not installed")

_RIGHT: list[tuple[str, str, Any, Any, Any, float]] = [
    ("humaneval", "f", [1], 2, 2, 0),
    ("humaneval", "f", [1], 2.0000001, 2.0, 1e-6),
    ("humaneval", "f", [1], (2.0, 3.0000001), [2.0, 3.0], 1e-6),
    ("humaneval", "find_zero", [[1, 2]], -0.5, -0.5, 1e-4),
    ("mbpp", "are_equivalent", [1, 2], True, False, 0),
    ("mbpp", "sum_div", [7], 0, 1, 0),
    ("mbpp", "similar_elements", [[1], [1]], [1, 1], (1,), 0),
    ("mbpp", "check_str", ["a"], "match", True, 0),
]
_WRONG: list[tuple[str, str, Any, Any, Any, float]] = [
    ("humaneval", "f", [1], 3, 2, 0),
    ("humaneval", "f", [1], 2.1, 2.0, 1e-6),
    ("humaneval", "find_zero", [[1, 2]], 1.0, -0.5, 1e-4),
    ("mbpp", "sum_div", [7], 2, 1, 0),
    ("mbpp", "similar_elements", [[1], [1]], [2], (1,), 0),
    ("mbpp", "check_str", ["a"], None, True, 0),
    ("mbpp", "check_str", ["a"], False, True, 0),
]


@pytest.mark.parametrize("case", _RIGHT)
def test_outputs_that_the_oracles_accept_are_right(case: Any) -> None:
    assert is_right(*case)


@pytest.mark.parametrize("case", _WRONG)
def test_other_outputs_are_wrong(case: Any) -> None:
    assert not is_right(*case)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, True), (1, False), (True, False), ("1.0", False), (None, False),
        ([1.0, 2.0], True), ([1.0, 2], False), ((), True), ({"a": 1.0}, False),
    ],
)  # fmt: skip
def test_numbers_that_are_compared_within_a_tolerance(value: Any, expected: bool) -> None:
    assert _is_floats(value) is expected


def graded(
    folder: Path, *solutions: str, expected: Any = 4, atol: float = 0
) -> list[dict[str, str]]:
    """What the process says of solutions; `f(2)` is the base test, `f(2)` twice the plus tests."""
    base = {"inputs": [[2]], "expected": [expected], "times": [0.0]}
    truth = {"entry_point": "f", "atol": atol, "base": base,
             "plus": {name: 2 * values for name, values in base.items()}}  # fmt: skip
    packed = base64.b64encode(gzip.compress(pickle.dumps(truth))).decode()
    task = {"truth": packed, "limits_s": {"base": 5.0, "plus": 5.0},
            "min_limit_s": 0.3, "limit_factor": 1.0}  # fmt: skip
    lines = [json.dumps({"number": n, "task": task | {"solution": text}}) + "\n"
             for n, text in enumerate(solutions)]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "harness.compute.evaluate.graders.code_runner", "humaneval", "open"],
        input="".join(lines), env={**os.environ, "TMPDIR": str(folder)},
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[0] == {"ready": True}
    assert [each["number"] for each in said[1:]] == list(range(len(solutions)))
    return [each["answer"] for each in said[1:]]


PASS, FAIL = {"base": "pass", "plus": "pass"}, {"base": "fail", "plus": "fail"}


def test_a_program_passes_by_its_output_and_fails_by_anything_else(tmp_path: Path) -> None:
    right = "def f(x):\n    return 2 * x"
    once = "n = []\ndef f(x):\n    n.append(x)\n    return 4 if len(n) < 2 else 5"
    found = graded(
        tmp_path,
        right,
        "def f(x):\n    return 3 * x",
        "def g(x):\n    return 2 * x",  # not the name that is asked for
        "def f(x:\n    return 2 * x",
        "raise SystemExit(0)",
        "import os\nos._exit(0)",
        once,  # the plus tests have a second one
        right,
    )
    assert found[0] == found[7] == PASS
    assert found[6] == {"base": "pass", "plus": "fail"}
    assert all(each != PASS and "pass" not in each.values() for each in found[1:6])


def test_an_endless_program_ends_and_the_next_one_is_run(tmp_path: Path) -> None:
    began = "def f(x):\n    while True:\n        pass"
    assert graded(tmp_path, began, "def f(x):\n    return 2 * x") == [FAIL, PASS]


def test_what_a_program_prints_or_writes_is_no_answer_and_its_files_are_gone(
    tmp_path: Path,
) -> None:
    loud = (
        "import os, io\nio.open('left', 'w').write('x')\n"
        "def f(x):\n    print('{}')\n    os.write(1, b'noise')\n    return 2 * x"
    )
    assert graded(tmp_path, loud) == [PASS]
    assert list(tmp_path.iterdir()) == []


def test_floats_may_differ_a_little_where_the_task_names_no_tolerance(tmp_path: Path) -> None:
    near, far = "def f(x):\n    return 4.0000001", "def f(x):\n    return 4.001"
    assert graded(tmp_path, near, far, expected=4.0) == [PASS, FAIL]
    assert graded(tmp_path, near, expected=4) == [FAIL]


def test_files_of_a_program_are_seen_and_empty_folders_are_none(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert not _own_files(str(tmp_path))
    (tmp_path / "a" / "b" / ".hidden").touch()
    assert _own_files(str(tmp_path))
