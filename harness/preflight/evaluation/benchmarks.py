"""Can the evaluations run: benchmarks on disk, a sandbox for code, room for prompt and answer."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.benchmarks.prepare import is_prepared
from harness.benchmarks.registry import BENCHMARKS, parse
from harness.config.evaluation import EvaluationSpec
from harness.config.site import Site
from harness.preflight.findings import Finding, error, note, warning


def check_evaluation(evaluation: EvaluationSpec, site: Site) -> list[Finding]:
    """Findings about `evaluation`."""
    findings = []
    folder = Path(site.benchmarks_dir)
    runs = [parse(word, "evaluation.benchmarks") for word in evaluation.benchmarks]
    unprepared = [
        r.name for r in runs if not BENCHMARKS[r.name].generate and not is_prepared(folder, r.name)
    ]
    if unprepared:
        findings.append(
            error(
                "evaluation.benchmarks",
                f"not prepared in {folder}: {', '.join(unprepared)}",
                f"python -m harness prepare {' '.join(unprepared)}",
            )
        )
    code = [r.name for r in runs if r.benchmark.runs_code]
    if code and not evaluation.allow_unsandboxed_code and not _can_sandbox():
        findings.append(
            warning(
                "evaluation.benchmarks",
                f"{', '.join(code)} run model-written programs in a sandbox, and this machine has "
                "neither bubblewrap (bwrap) nor user namespaces",
                "One of them must be on the compute nodes: apt/dnf install bubblewrap, or "
                "sysctl user.max_user_namespaces",
            )
        )
    foreign = [r.name for r in runs if r.benchmark.backend != "builtin"]
    if foreign and evaluation.body:
        findings.append(
            warning(
                "evaluation.body",
                f"is not sent for {', '.join(foreign)}: those programs make their own requests",
                "evaluation.lm_eval.options and evaluation.nemo_skills.overrides are for them",
            )
        )
    if evaluation.max_items:
        findings.append(
            note(
                "evaluation.max_items",
                f"only the first {evaluation.max_items} items of each benchmark: "
                "scores do not compare with full ones",
            )
        )
    return findings


def _can_sandbox() -> bool:
    """Whether this machine seems to have what compute/evaluate/sandbox.py needs."""
    if shutil.which("bwrap") is not None:
        return True
    limit = Path("/proc/sys/user/max_user_namespaces")
    return limit.is_file() and limit.read_text().strip() not in ("", "0")
