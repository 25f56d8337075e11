"""The helper process of the instruction grader, for responses of unusual length: `python -m` this.

A pattern of a checker may spend hours inside one C call where no signal is handled; the parent kills
this process then (workers.py).
"""

from __future__ import annotations

import os
import resource
from typing import Any

from harness.compute.evaluate.graders.instructions_following import (
    NEED_PUNKT,
    grade_one,
    load_checkers,
)

_MEMORY_BYTES = 4 << 30


def _answer(task: dict[str, Any]) -> dict[str, Any]:
    needed = set(task["item"]["instruction_id_list"])
    checkers = load_checkers(needs_punkt=bool(needed & NEED_PUNKT))
    return grade_one(checkers, task["item"], task["response"])


def main() -> None:
    """Answer `{"item", "response"}` tasks with both verdicts until the input ends."""
    from harness.compute.evaluate.graders.workers import serve

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    sink = os.dup(1)
    os.dup2(2, 1)
    load_checkers(needs_punkt=False)  # the imports, before "ready"
    serve(_answer, sink=sink)


if __name__ == "__main__":
    main()
