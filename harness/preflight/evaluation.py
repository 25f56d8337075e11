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
    if code and not evaluation.allow_unsandboxed_code and shutil.which("bwrap") is None:
        findings.append(
            warning(
                "evaluation.benchmarks",
                f"{', '.join(code)} run model-written programs in bubblewrap, and bwrap is not on "
                "this machine's PATH",
                "It must be on the compute nodes: apt/dnf install bubblewrap, or conda-forge's",
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
