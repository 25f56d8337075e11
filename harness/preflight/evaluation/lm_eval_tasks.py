"""Does lm-eval know its tasks: asked where it is installed, before anything queues."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

from harness.benchmarks.registry import parse
from harness.config.evaluation import EvaluationSpec
from harness.config.site import Site
from harness.errors import CommandError, nearest
from harness.preflight.findings import Finding, error, note
from harness.processes.environments import role_wrapper
from harness.processes.shell import tethered

PLACE = "evaluation.benchmarks"
PREFIX = "lm-eval."
_TIMEOUT_S = 180.0
"""lm-eval 0.4.13 needs about ten seconds to read its 14,000 files, on a busy login node minutes."""

_ASK = """
import json, re, sys
from importlib.util import find_spec
from pathlib import Path

names, include = json.loads(sys.argv[1]), sys.argv[2]
found = find_spec("lm_eval")
if found is None:
    print(json.dumps({"absent": True}))
    sys.exit()
folders = [Path(p) / "tasks" for p in found.submodule_search_locations]
folders += [Path(include)] if include else []
# Most names stand in a file of their own, which is found sooner than all are read as YAML.
wanted = set(names)
line = re.compile(r"^(?:task|group):\\s*[\\"']?([^\\s\\"'#]+)", re.MULTILINE)
for folder in folders:
    for file in folder.rglob("*.yaml"):
        if not wanted:
            break
        wanted -= set(line.findall(file.read_text(encoding="utf-8", errors="replace")))
answer = {"unknown": [], "tags": {}, "known": []}
if wanted:
    from lm_eval.tasks import TaskManager

    tasks = TaskManager(include_path=include or None)
    for name in sorted(wanted):
        if name in tasks.all_tags and name not in tasks.all_subtasks + tasks.all_groups:
            answer["tags"][name] = sorted(getattr(tasks.task_index[name], "tags", None) or [])
        elif name not in tasks.all_tasks:
            answer["unknown"].append(name)
    answer["known"] = tasks.all_tasks if answer["unknown"] else []
print(json.dumps(answer))
"""
"""Run by lm-eval's own Python: which names it does not know, which are tags, and all it knows."""


def check_lm_eval_tasks(evaluation: EvaluationSpec, site: Site) -> list[Finding]:
    """Findings about benchmarks named `lm-eval.<task>`."""
    runs = [parse(word, PLACE) for word in evaluation.benchmarks]
    tasks = [r.name.removeprefix(PREFIX) for r in runs if r.benchmark.backend == "lm-eval"]
    if not tasks:
        return []
    environment = site.environment("lm-eval")
    if environment.container and environment.runtime == "pyxis":
        return [_unknown(tasks, "its container needs Slurm's srun")]
    own = environment.activate or environment.container
    include = evaluation.lm_eval.include_path or ""
    argv = ["python" if own else sys.executable, "-c", _ASK, json.dumps(tasks), include]
    try:
        shown = tethered(role_wrapper(site, "lm-eval", [include] if include else [])(argv),
                     timeout=_TIMEOUT_S)  # fmt: skip
        answer = json.loads(shown.splitlines()[-1])
    except (CommandError, ValueError, IndexError) as problem:
        lines = getattr(problem, "stderr", "").strip().splitlines() or ["it did not answer"]
        return [_unknown(tasks, lines[-1])]
    if answer.get("absent"):
        text = f"lm-eval is not installed where the site runs it, for {', '.join(tasks)}"
        cure = "pip install 'posttrain-harness[eval]' there, or environments.lm-eval in the site"
        return [error(PLACE, text, cure)]
    return [_no_task(name, answer["known"]) for name in answer["unknown"]] + [
        _tag(name, inside) for name, inside in answer["tags"].items()
    ]


def _unknown(tasks: Iterable[str], why: str) -> Finding:
    return note(PLACE, f"whether lm-eval has {', '.join(tasks)} is not known from here: {why}")


def _no_task(name: str, known: Iterable[str]) -> Finding:
    text = f"lm-eval has no task {name!r}{nearest(name, known)}"
    cure = "`lm-eval ls tasks` lists them; files of your own: evaluation.lm_eval.include_path"
    return error(PLACE, text, cure)


def _tag(name: str, tasks: list[str]) -> Finding:
    shown = ", ".join(f"{PREFIX}{task}" for task in tasks[:5]) + (", …" if tasks[5:] else "")
    text = f"{name!r} is a tag of several of lm-eval's tasks, which has no score of its own"
    return error(PLACE, text, f"Name its tasks: {shown}" if tasks else "Name its tasks")
