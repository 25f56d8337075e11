"""When two answers are the same, and the process that says so: one line in, one line out."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.compute.evaluate.graders import math_worker
from harness.compute.evaluate.graders.math_worker import math_equal
from tests.support import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is not installed"
)

RIGHT = [
    ("42", "42"),
    ("42", "$42"),
    ("42", "\\$42.00"),
    ("42", "42.0"),
    ("42", "42."),
    ("1000", "1,000"),
    ("1000", "1{,}000"),
    ("1000", "1,\\!000"),
    ("11232", "11 232"),
    ("42", "42%"),
    ("42", "42\\%"),
    ("42", "x = 42"),
    ("42", "40+2=42"),
    ("42", "\\frac{84}{2}"),
    ("42", "(42)"),
    ("42", "\\{42\\}"),
    ("42", "42\\text{ dollars}"),
    ("2100", "2.1 \\times 10^{3}"),
    ("-3", "\N{MINUS SIGN}3"),
    ("B", "B"),
]
WRONG = [
    ("104", "104 eggs"),
    ("9", "9 miles/hour"),
    ("7425", "7\\,425"),
    ("85000", "85_000"),
    ("9", "€9"),
    ("80", "080"),
    ("50", "50.0000001"),
    ("16", "\\approx 16"),
    ("225", "225, 226"),
    ("42", ""),
    ("42", "43"),
    ("42", "-42"),
    ("3", "\\frac{3}{}"),
    ("B", "C"),
]


@pytest.mark.parametrize(("expected", "predicted"), RIGHT)
def test_equal_answers_in_another_notation_are_right(expected: str, predicted: str) -> None:
    assert math_equal(expected, predicted)


@pytest.mark.parametrize(("expected", "predicted"), WRONG)
def test_other_answers_and_notations_that_nemo_skills_refuses_are_wrong(
    expected: str, predicted: str
) -> None:
    assert not math_equal(expected, predicted)


@pytest.mark.parametrize(
    ("answer", "kept"),
    [("42%", "42"), ("42.5\\%", "42.5"), ("42.", "42"), ("about 42%", "about 42%"), ("%", "%")],
)
def test_only_a_whole_percentage_loses_its_sign(answer: str, kept: str) -> None:
    assert math_worker._without_percent(answer) == kept


@pytest.mark.parametrize(
    ("answer", "parsed"),
    [
        ("3", "$3$"),
        ("$3$", "$3$"),
        ("so\n$3$", "so\n$3$"),
        ("\\(3\\)", "\\(3\\)"),
        ("\\[3\\]", "\\[3\\]"),
        ("\\boxed{3}", "\\boxed{3}"),
        ("$3", "$$3$"),  # one sign opens nothing
        ("", "$$"),
    ],
)
def test_an_answer_is_read_as_mathematics_unless_it_says_where_that_begins(
    answer: str, parsed: str
) -> None:
    assert math_worker._in_math_mode(answer) == parsed


def test_what_the_libraries_cannot_take_is_wrong_and_stops_nothing() -> None:
    assert math_worker._answer({"expected": "42", "predicted": "\ud800" * 9}) is False
    assert math_worker._answer({"expected": None, "predicted": "42"}) is False


def answers(*pairs: tuple[str, str], **environment: str) -> list[object]:
    """What the process answers to (expected, predicted), in order."""
    tasks = [
        {"number": number, "task": {"expected": expected, "predicted": predicted}}
        for number, (expected, predicted) in enumerate(pairs)
    ]
    done = subprocess.run(
        [sys.executable, "-m", "harness.compute.evaluate.graders.math_worker"],
        input="".join(json.dumps(task) + "\n" for task in tasks), env={**os.environ, **environment},
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[0] == {"ready": True}
    assert [each["number"] for each in said[1:]] == list(range(len(pairs)))
    return [each["answer"] for each in said[1:]]


def test_the_process_answers_each_line_with_one() -> None:
    found = answers(("42", "42.0"), ("42", "43"), ("ü\n\"'", "ü\n\"'"), ("7", ""))
    assert found == [True, False, True, False]


def test_what_a_library_prints_is_no_answer(tmp_path: Path) -> None:
    """A library in the place of math-verify that talks."""
    (tmp_path / "math_verify.py").write_text(
        "import os\n"
        "LatexExtractionConfig = StringExtractionConfig = lambda **_: None\n"
        "def parse(text, *_): return text\n"
        "def verify(expected, predicted, **_):\n"
        "    if 'loud' in predicted: print('noise'), os.write(1, b'more noise\\n')\n"
        "    return True\n"
    )
    assert answers(("42", "loud 42"), ("42", "43"), PYTHONPATH=str(tmp_path)) == [True, False]


def test_without_math_verify_the_helper_says_what_installs_it() -> None:
    code = (
        "import sys; sys.modules['latex2sympy2_extended'] = None; "
        "from harness.compute.evaluate.graders.math_worker import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="", cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"latex2sympy2_extended is not installed in {sys.executable}: "
        "pip install 'posttrain-harness[eval]'\n"
    )
