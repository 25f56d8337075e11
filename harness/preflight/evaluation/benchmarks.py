"""Can the evaluations run: benchmarks on disk, a sandbox for code, room for prompt and answer."""

from __future__ import annotations

import shutil
from pathlib import Path

from harness.benchmarks.prepare import is_prepared
from harness.benchmarks.registry import BENCHMARKS, Benchmark, BenchmarkRun, parse
from harness.config.evaluation import EvaluationSpec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.errors import nearest
from harness.package import is_installed, needs
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
    findings += _check_packages([r.benchmark for r in runs], site)
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


def check_best_metric(spec: Spec) -> list[Finding]:
    """Findings about `train.best_metric`: a column that the evaluation will make.

    Of a benchmark that another program grades, or a judge, its metrics are not known here.
    """
    metric, evaluation = spec.train.best_metric, spec.evaluation
    if metric is None or evaluation is None:
        return []
    runs = [parse(word, "evaluation.benchmarks") for word in evaluation.benchmarks]
    ranked = next(r for r in runs if r.name == metric.partition("/")[0])
    if ranked.benchmark.kind is None or ranked.benchmark.needs_judge:
        return []
    known = columns(ranked)
    if metric in known:
        return []
    own = f"{ranked.name}/pass@1/{ranked.benchmark.headline}"
    text = f"{metric}: no column of {ranked.name}{nearest(metric, known)}"
    return [error("train.best_metric", text, f"Such as {own}")]


def columns(run: BenchmarkRun) -> list[str]:
    """The columns that say how good answers are, as compute/evaluate/graders/aggregate.py names
    them: <benchmark>/<aggregation>/<metric>."""
    kind = run.benchmark.kind
    assert kind
    counts = range(2, run.repeats + 1)
    aggregations = [
        "pass@1",
        *(f"pass@{k}" for k in counts),
        *(f"pass@1[avg-of-{k}]" for k in counts),
        *(f"majority@{k}" for k in counts if kind.has_answers),
    ]
    return [f"{run.name}/{a}/{metric}" for a in aggregations for metric in kind.metrics]


def _check_packages(benchmarks: list[Benchmark], site: Site) -> list[Finding]:
    """What asks and grades must be in the environment of the role `evaluate`.

    Where the site gives that role an environment of its own, nothing can be known from here.
    """
    elsewhere = site.environment("evaluate")
    if elsewhere.activate or elsewhere.container:
        return []
    kinds = [b.kind for b in benchmarks if b.kind]
    wanted = {
        "aiohttp": "eval",
        **{p: "code" if k.runs_code else "eval" for k in kinds for p in k.packages},
    }
    found = {
        extra: warning(
            "evaluation.benchmarks",
            f"{package} is not installed in this environment, which the evaluation jobs use too",
            needs(extra),
        )
        for package, extra in reversed(list(wanted.items()))
        if not is_installed(package)
    }
    return [found[extra] for extra in sorted(found, reverse=True)]


def _can_sandbox() -> bool:
    """Whether this machine seems to have what compute/evaluate/sandbox/ needs."""
    if shutil.which("bwrap") is not None:
        return True
    limit = Path("/proc/sys/user/max_user_namespaces")
    return limit.is_file() and limit.read_text().strip() not in ("", "0")
