"""The helper process of the mathematics grader: `python -m` this module.

math-verify limits its time by SIGALRM, which works only in a process's main thread, and sympy can
spend minutes inside one C call where no signal is handled. Hence a process of its own, with the
hard limit kept by the parent (workers.py).
"""

from __future__ import annotations

import os
import re
import resource
from typing import Any

from harness.package import missing

_MEMORY_BYTES = 4 << 30
_LETTERS = tuple("ABCDEFGHIJ")
_PERCENT = re.compile(r"(\d+\.?\d*)(?:\\%|%)")
_LITERAL = re.compile(r"[a-zA-Z ,]+|[0-9 ]+")
_IN_MATH_MODE = re.compile(r"\$.*\$|\\\(.*\\\)|\\\[.*\\\]|\\boxed\{", re.DOTALL)
# What NeMo-Skills' MathEvaluatorConfig passes to math_verify.verify.
_NUMERIC_PRECISION = 15
_VERIFY_LIMIT_S = 10


def math_equal(expected: str, predicted: str) -> bool:
    """Whether two answers are the same: letters, then literally, then by math-verify 0.9.0.

    Main thread only (signals). Source: NeMo-Skills `evaluation/math_grader.py`, `math_equal`.
    """
    from latex2sympy2_extended import NormalizationConfig, normalize_latex
    from math_verify import LatexExtractionConfig, StringExtractionConfig, parse, verify

    if expected.strip() in _LETTERS:
        as_letter = [StringExtractionConfig(strings=_LETTERS)]
        if verify(parse(expected, as_letter), parse(predicted, as_letter)):
            return True

    expected, predicted = _without_percent(expected), _without_percent(predicted)
    left = normalize_latex(expected, NormalizationConfig)
    right = normalize_latex(predicted, NormalizationConfig)
    same = bool(left.replace(" ", "") == right.replace(" ", ""))
    if same or (_LITERAL.fullmatch(left) and _LITERAL.fullmatch(right)):
        return same

    as_latex = [LatexExtractionConfig()]
    return bool(
        verify(
            parse(_in_math_mode(expected), as_latex),
            parse(_in_math_mode(predicted), as_latex),
            numeric_precision=_NUMERIC_PRECISION,
            timeout_seconds=_VERIFY_LIMIT_S,
        )
    )


def _without_percent(answer: str) -> str:
    match = _PERCENT.fullmatch(answer)
    return (match.group(1) if match else answer).rstrip(".\\")


def _in_math_mode(answer: str) -> str:
    return answer if _IN_MATH_MODE.search(answer) else f"${answer}$"


def _answer(task: dict[str, Any]) -> bool:
    # NeMo-Skills would stop the whole evaluation here; we hold the one answer for wrong.
    try:
        return math_equal(task["expected"], task["predicted"])
    except (Exception, MemoryError, RecursionError):
        return False


def main() -> None:
    """Answer `{"expected", "predicted"}` tasks with true or false until the input ends."""
    from harness.compute.evaluate.graders.workers import serve

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    # Nothing that a library prints, while it is imported too, may reach the answers.
    sink = os.dup(1)
    os.dup2(2, 1)
    try:
        math_equal("1.5", "x = \\frac{3}{2}")  # the imports and the parser's tables, before "ready"
    except ModuleNotFoundError as error:
        raise SystemExit(missing(error) or str(error)) from None
    serve(_answer, sink=sink)


if __name__ == "__main__":
    main()
