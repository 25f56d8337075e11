"""One cell: its items, its answers, its grades, its metrics.json."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import harness
from harness.benchmarks.prepare import ground_truth_link, load_items, nltk_data
from harness.benchmarks.registry import BENCHMARKS, Benchmark, Item
from harness.compute.evaluate import gates
from harness.compute.evaluate.generate import Generation, Row, generate, read_rows
from harness.compute.evaluate.judge import Judge, judge_cell
from harness.compute.serve.server import RunningServer
from harness.config.evaluation import EvaluationSpec
from harness.plan import Cell
from harness.runs.files import utc_now, write_json, write_text
from harness.runs.metrics import TaskRecord, read_task, write_task
from harness.runs.paths import CellPaths

_GRADING_PACKAGES = ("math-verify", "lm-eval", "evalplus")


@dataclass
class CellWork:
    """One cell on its way to a result."""

    cell: Cell
    paths: CellPaths
    evaluation: EvaluationSpec
    benchmarks_dir: Path
    fingerprint: str
    """Of the model that is evaluated; a LoRA checkpoint's is the adapter's and the base's."""
    log: str
    job_id: str
    request_body: dict[str, Any] = field(default_factory=dict)
    judge: Judge | None = None
    """Of a benchmark that needs one."""
    started: str = field(default_factory=utc_now)
    seconds: dict[str, float] = field(default_factory=dict)
    samples: list[list[Row]] = field(default_factory=list)
    served_fingerprint: str = ""
    """Of the folder that the server loaded: another one where an adapter was merged."""

    @property
    def benchmark(self) -> Benchmark:
        return BENCHMARKS[self.cell.benchmark]

    def items(self) -> list[Item]:
        """The items asked. Raises EvaluationError when the benchmark is not prepared."""
        return load_items(self.benchmarks_dir, self.cell.benchmark)[: self.evaluation.max_items]

    def inputs(self) -> dict[str, Any]:
        """All that the answers depend on; results of other inputs are not reused."""
        items = self.items()
        prompts = json.dumps([t for item in items for t in self.benchmark.turns(item)])
        return {
            "fingerprint": self.fingerprint,
            "items": len(items),
            "prompts_sha256": hashlib.sha256(prompts.encode()).hexdigest(),
            "repeats": self.cell.repeats,
            "sampling": self.evaluation.sampling.model_dump(),
            "engine": self.evaluation.server.engine,
            "dtype": self.evaluation.server.dtype,
        }

    def is_done(self) -> bool:
        """Whether a result of the same inputs is there. Others' answers are set aside."""
        record = read_task(self.paths)
        if record is None:
            return False
        same = {k: record.facts.get(k) for k in self.inputs()} == self.inputs()
        if not same:
            self._set_aside()
        elif self.judge and self._is_judged_otherwise(record, self.judge):
            self._reopen()
            return False
        return same and record.state == "ok" and self.paths.metrics.is_file()

    def _set_aside(self) -> None:
        aside = self.paths.root / f"stale-{utc_now().replace(':', '')}"
        aside.mkdir(parents=True)
        for path in [*self.paths.root.glob("*.json*")]:
            if path != self.paths.judgements:  # told apart by their keys, and paid for
                path.rename(aside / path.name)

    def _is_judged_otherwise(self, record: TaskRecord, judge: Judge) -> bool:
        """Whether good answers were judged by another judge, or without enough verdicts."""
        by = record.facts.get("judge")
        return by is not None and (record.state != "ok" or by != judge.facts(self.benchmark))

    def _reopen(self) -> None:
        """Judge the same answers again: the graded rows are answers once more."""
        output, partial = self.paths.output(), self.paths.partial()
        if output.is_file() and not partial.is_file():
            output.rename(partial)
        self.paths.metrics.unlink(missing_ok=True)

    def has_answers(self) -> bool:
        """Whether every answer of every repeat is there: then no server is needed."""
        ids = {item["id"] for item in self.items()}
        return all(ids <= read_rows(self.paths.partial(k)).keys() for k in range(self.cell.repeats))

    def record(self, state: Any, reason: str = "", **facts: Any) -> None:
        """Write task.json."""
        inputs = {} if state == "missing" else self.inputs()
        if self.served_fingerprint not in ("", self.fingerprint):
            facts["served_fingerprint"] = self.served_fingerprint
        write_task(
            self.paths,
            TaskRecord(
                state=state,
                reason=reason,
                log=self.log,
                job_id=self.job_id,
                started=self.started,
                ended="" if state == "running" else utc_now(),
                facts=inputs | facts,
            ),
        )

    def generate(self, server: RunningServer | None) -> None:
        """Every answer of every repeat; without a server those that are there.

        Raises ServerError or EvaluationError.
        """
        self.record("running")
        began = time.monotonic()
        items = self.items()
        for repeat in range(self.cell.repeats):
            work = Generation(
                self.benchmark, items, repeat, self.paths.partial(repeat), self.request_body
            )
            self.samples.append(generate(work, server, self.evaluation))
        self.seconds["start"] = round(server.start_seconds, 2) if server else 0.0
        self.seconds["generate"] = round(time.monotonic() - began, 2)

    def grade(self) -> str:
        """Grade, gate and write the result; returns the cell's state."""
        if self.judge:
            return judge_cell(self, self.judge)
        from harness.compute.evaluate.builtin import GRADERS
        from harness.compute.evaluate.builtin.aggregate import benchmark_metrics

        began = time.monotonic()
        os.environ["NLTK_DATA"] = str(nltk_data(self.benchmarks_dir))
        items = self.items()
        reason = next(filter(None, (gates.invalid_reason(s, len(items)) for s in self.samples)), "")
        grader = GRADERS[self.benchmark.grader](**self._grader_options())
        for repeat, rows in enumerate(self.samples):
            grades = grader.grade(items, [row.get("generation", "") for row in rows])
            graded = [{**i, **r, **g} for i, r, g in zip(items, rows, grades, strict=True)]
            lines = (json.dumps(row, ensure_ascii=False) for row in graded)
            write_text(self.paths.output(repeat), "".join(f"{line}\n" for line in lines))
            self.samples[repeat] = graded
        self.seconds["grade"] = round(time.monotonic() - began, 2)
        metrics = benchmark_metrics(self.cell.benchmark, self.benchmark.grader, items, self.samples)
        warnings = gates.warnings(self.benchmark, self.samples[0], metrics[self.cell.benchmark])
        write_json(self.paths.metrics, metrics)
        state = "invalid" if reason else "ok"
        self.record(state, reason, seconds=self.seconds, warnings=warnings, versions=_versions())
        for repeat in range(self.cell.repeats):
            self.paths.partial(repeat).unlink(missing_ok=True)
        headline = metrics[self.cell.benchmark].get("pass@1", {}).get(self.benchmark.headline)
        print(f"{self.cell.benchmark}: {state} {reason} {self.benchmark.headline}={headline}",
              *(f"  warning: {w}" for w in warnings), sep="\n", flush=True)  # fmt: skip
        return state

    def _grader_options(self) -> dict[str, Any]:
        if not self.benchmark.runs_code:
            return {}
        return {
            "ground_truth": ground_truth_link(self.benchmarks_dir, self.cell.benchmark),
            "allow_unsandboxed": self.evaluation.allow_unsandboxed_code,
        }


def _versions() -> dict[str, str]:
    versions = {"harness": harness.__version__}
    for package in _GRADING_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
