"""Benchmarks of other programs as a user has them: a site whose roles have `ns` and lm-eval.

lm-eval is the real one, on a task and data of our own. `ns` is fake_ns.py (see there).
"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

FAKE_NS = Path(__file__).with_name("fake_ns.py")
FAKE_VLLM = Path(__file__).parents[2] / "serve" / "fake_server.py"
BENCHMARKS = ("nemo-skills.sums", "lm-eval.sums")
TASK = """\
task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["</s>"]}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
filter_list:
  - {{name: number, filter: [{{function: regex, regex_pattern: "is (\\\\d+)"}}, {{function: take_first}}]}}
"""


def lm_eval_tasks(folder: Path, items: int = 4) -> Path:
    """A folder with lm-eval's task `sums`, on data beside it."""
    rows = [{"question": f"{i} + 1?", "answer": str(i + 1)} for i in range(items)]
    data = folder / "sums.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = folder / "tasks"
    tasks.mkdir()
    (tasks / "sums.yaml").write_text(TASK.format(data=data))
    return tasks


def ns_data(folder: Path, items: int = 4) -> Path:
    """A folder as `ns prepare_data` leaves it, with the benchmark `sums`."""
    (folder / "ns" / "sums").mkdir(parents=True)
    rows = [{"problem": f"{i} + 1?", "expected_answer": str(i + 1)} for i in range(items)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "ns" / "sums" / "test.jsonl").write_text(text)
    return folder / "ns"


def evaluation(folder: Path) -> dict[str, Any]:
    """The fields of `evaluation` that these benchmarks need."""
    return {
        "nemo_skills": {"data_dir": str(ns_data(folder))},
        "lm_eval": {"include_path": str(lm_eval_tasks(folder))},
    }


def environments(folder: Path) -> dict[str, Any]:
    """The site's roles: `ns` in an environment of its own, lm-eval in this Python's.

    And a `vllm` that adds one, in the place of the real one (compute/serve/fake_server.py).
    """
    programs = folder / "ns environment"
    programs.mkdir()
    (programs / "ns").write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE_NS} "$@"\n')
    (programs / "ns").chmod(0o755)
    vllm = f"""exec {sys.executable} {FAKE_VLLM} '{{"sums": true}}' vllm "$@"\n"""
    (programs / "vllm").write_text(f"#!/bin/sh\n{vllm}")
    (programs / "vllm").chmod(0o755)
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    path = f"export PATH={shlex.quote(f'{programs}:{Path(sys.executable).parent}')}:$PATH"
    activated = {"activate": [path]}
    return {"nemo-skills": activated, "vllm": activated, "lm-eval": {"variables": offline}}
