"""The helper of the instruction grader, spoken to as its parent does."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import ROOT

pytest.importorskip("lm_eval", reason="needs the extra `eval`")


@pytest.mark.long
def test_it_answers_with_both_verdicts_until_its_input_ends() -> None:
    item = {"prompt": "p", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    tasks = [{"item": item, "response": text} for text in ("none", "a, b", "\ud83d")]
    lines = [json.dumps({"number": n, "task": task}) + "\n" for n, task in enumerate(tasks)]
    done = subprocess.run(
        [sys.executable, "-m", "harness.compute.evaluate.graders.instructions_worker"],
        input="".join(lines), cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert said[0] == {"ready": True}
    assert [each["answer"]["strict_eval"]["follow_all_instructions"] for each in said[1:]] == [
        True, False, True,
    ]  # fmt: skip
