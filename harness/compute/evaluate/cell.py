"""One cell: an evaluator's answers and grades, the gates, metrics.json and task.json."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.benchmarks.items import Item
from harness.benchmarks.registry import BENCHMARKS, Benchmark
from harness.compute.evaluate import gates
from harness.compute.evaluate.answers.generate import SEED_RULE
from harness.compute.evaluate.evaluators.builtin import BuiltinEvaluator
from harness.compute.evaluate.evaluators.evaluator import Evaluator, Outcome
from harness.compute.evaluate.evaluators.program import ProgramEvaluator
from harness.compute.evaluate.judge import Judge, JudgedEvaluator
from harness.compute.evaluate.provenance import gpu_seconds, idle_seconds, versions
from harness.compute.serve.server import RunningServer
from harness.config.evaluation import EvaluationSpec
from harness.errors import ServerError
from harness.plan.plan import Cell
from harness.runs.files import utc_now, write_json
from harness.runs.metrics import TaskRecord, read_task, write_task
from harness.runs.paths import BASE, CellPaths


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
    judged_apart: bool = False
    """Whether another job has the answers judged."""
    started: str = field(default_factory=utc_now)
    model: Path | None = None
    """The folder that is evaluated; looked at again once the answers are there."""
    template: str | None = None
    """Text of the chat template that the run trained with; None: the model's own."""
    template_sha256: str = ""
    """Of the template that is served."""
    engine_version: Callable[[RunningServer], str] = lambda server: ""
    tokenizer: str = ""
    """Folder or id of the model's tokenizer, for evaluators that need it."""
    wrap: Callable[[list[str]], list[str]] = list
    """Puts a command into the environment of the backend's role."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Spent on this cell by this job, by phase."""
    earlier: dict[str, float] = field(default_factory=dict)
    """The same, by jobs before it that worked on the same answers."""
    served_fingerprint: str = ""
    """Of the folder that the server loaded: another one where an adapter was merged."""
    restarts: int = 0
    """How often its server had to be started again."""
    server_facts: dict[str, Any] = field(default_factory=dict)

    @property
    def benchmark(self) -> Benchmark:
        return BENCHMARKS[self.cell.benchmark]

    @cached_property
    def evaluator(self) -> Evaluator:
        """Who asks and grades."""
        options: dict[str, Any] = {
            "benchmark": self.benchmark,
            "benchmarks_dir": self.benchmarks_dir,
            "paths": self.paths,
            "repeats": self.cell.repeats,
            "evaluation": self.evaluation,
            "request_body": self.request_body,
        }
        if self.judge:
            return JudgedEvaluator(**options, judge=self.judge)
        if self.benchmark.backend != "builtin":
            return ProgramEvaluator(
                self.benchmark,
                self.paths,
                self.cell.repeats,
                self.evaluation,
                self.tokenizer,
                self.wrap,
            )
        return BuiltinEvaluator(**options)

    def items(self) -> Sequence[Item]:
        """The items asked by a builtin evaluator. Raises EvaluationError when not prepared."""
        assert isinstance(self.evaluator, BuiltinEvaluator)
        return self.evaluator.items

    def inputs(self) -> dict[str, Any]:
        """All that the answers depend on; results of other inputs are not reused."""
        return {
            "backend": self.evaluator.backend,
            "fingerprint": self.fingerprint,
            **self.evaluator.inputs(),
            "sampling": self.evaluation.recorded_sampling,
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
            return False
        self._carry(record)
        if self.judge and self._is_judged_otherwise(record, self.judge):
            self._reopen()
            return False
        return record.state == "ok" and self.paths.metrics.is_file()

    def _carry(self, record: TaskRecord) -> None:
        """What jobs before this one spent on these answers, and whom they asked."""
        facts = record.facts
        self.started = record.started or self.started
        self.earlier = dict(facts.get("seconds", {}))
        self.restarts = facts.get("restarts", 0)
        self.served_fingerprint = facts.get("served_fingerprint", "")
        self.server_facts = {k: facts[k] for k in ("engine_version", "served_as") if k in facts}

    def _set_aside(self) -> None:
        aside = self.paths.root / f"stale-{utc_now().replace(':', '')}"
        aside.mkdir(parents=True, exist_ok=True)
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
        return self.evaluator.has_answers()

    def record(self, state: Any, reason: str = "", **facts: Any) -> None:
        """Write task.json."""
        origin: dict[str, Any] = {} if state == "missing" else self.inputs() | self.server_facts
        if self.served_fingerprint not in ("", self.fingerprint):
            origin["served_fingerprint"] = self.served_fingerprint
        if self.template_sha256:
            origin["template_sha256"] = self.template_sha256
        if seconds := self._all_seconds():
            origin |= {"seconds": seconds, "restarts": self.restarts}
        if self.judged_apart and state in ("answered", "invalid", "failed"):
            same = not (self.model and gates.changed_model(self.model, self.fingerprint))
            origin["answers_kept"] = same and self.has_answers()
        write_task(
            self.paths,
            TaskRecord(
                state=state,
                reason=reason,
                log=self.log,
                job_id=self.job_id,
                started=self.started,
                ended="" if state == "running" else utc_now(),
                facts=origin | facts,
            ),
        )

    def fail(self, error: Exception) -> None:
        """Write down why there is no result; one that is there stays."""
        if self.paths.metrics.is_file():
            return
        if isinstance(error, ServerError) and error.log:
            self.log = str(error.log)
        self.record("failed", str(error).splitlines()[0] if str(error) else type(error).__name__)

    def note_served(self, fingerprint: str) -> None:
        """What the server loads: another folder than the model's where an adapter was merged."""
        self.served_fingerprint = fingerprint

    def note_restart(self) -> None:
        """Its server had to be started again."""
        self.restarts += 1

    def generate(self, server: RunningServer | None) -> None:
        """Every answer of every repeat; without a server those that are there.

        Raises ServerError or EvaluationError.
        """
        self.evaluator.prepare()
        # Answers that only wait for their judge wait on while they are read again.
        self.record("running" if server or not self.judged_apart else "answered")
        if server:
            # One server answers for all cells of a task: the first one pays for its start.
            self._spend("start", server.take_start_seconds())
            self.server_facts = {
                "engine_version": self.engine_version(server),
                "served_as": server.model,
            }
        began = time.monotonic()
        try:
            self.evaluator.run(server)
        finally:
            self._spend("generate", time.monotonic() - began)

    def _spend(self, phase: str, seconds: float) -> None:
        self.seconds[phase] = round(self.seconds.get(phase, 0.0) + seconds, 2)

    def _all_seconds(self) -> dict[str, float]:
        phases = [*self.earlier, *(p for p in self.seconds if p not in self.earlier)]
        return {p: round(self.earlier.get(p, 0.0) + self.seconds.get(p, 0.0), 2) for p in phases}

    def leave_to_judge(self) -> str:
        """Leave the answers to the job that has them judged; returns the cell's state."""
        self.record("answered")
        print(f"{self.cell.benchmark}: answered; a job without GPUs has it judged", flush=True)
        return "answered"

    def grade(self, phase: str = "grade") -> str:
        """Grade, gate and write the result; returns the cell's state."""
        began = time.monotonic()
        outcome = self.evaluator.metrics()
        found = self._gates(outcome)
        self._spend(phase, time.monotonic() - began)
        if outcome.metrics:
            write_json(self.paths.metrics, outcome.metrics)
        state = "ok" if not found.reasons else "invalid"
        facts = dict(outcome.facts)
        facts["versions"] = versions() | dict(facts.get("versions", {}))
        self.record(state, found.reason, warnings=found.warnings, **facts)
        if not any(tally.errors for tally in outcome.tallies):  # else the rest is asked on retry
            for repeat in range(self.cell.repeats):
                self.paths.partial(repeat).unlink(missing_ok=True)
        self._say(state, found, outcome)
        return state

    def _gates(self, outcome: Outcome) -> gates.Verdict:
        limits = self.evaluation.gates
        expected = self.inputs().get("items", outcome.items)
        found = gates.Verdict(warnings=list(outcome.warnings))
        for tally in outcome.tallies:
            found.join(gates.answers_verdict(tally, expected, limits))
        if not outcome.metrics:
            found.reasons = [outcome.reason or "there are no metrics"]
        else:
            found.reasons += [outcome.reason] if outcome.reason else []
            own = outcome.metrics.get(self.cell.benchmark, {})
            found.join(gates.metrics_verdict(self.benchmark, own, expected, limits))
        if self.model is not None:
            for text in (
                gates.changed_model(self.model, self.fingerprint),
                gates.foreign_name(str(self.server_facts.get("served_as", "")), self.fingerprint),
            ):
                found.reasons += [text] if text else []
            trained = self.template if self.cell.checkpoint != BASE else None
            if text := gates.other_template(self.model, trained):
                found.hit(limits.template, text)
        return found

    def account(self, task_seconds: float, task_spent: float, cells: int) -> None:
        """Add idle and GPU seconds to task.json, once the task is through with all its cells."""
        record = read_task(self.paths)
        assert record is not None, "grade() or leave_to_judge() has written it"
        self._spend("idle", idle_seconds(task_seconds, task_spent, cells))
        seconds = self._all_seconds()
        spent = gpu_seconds(seconds, self.evaluation.server.gpu_count)
        rule = SEED_RULE if self.evaluation.reads_seeds else ""
        facts = {"seconds": seconds, "gpu_seconds": spent, "seed_rule": rule}
        write_task(self.paths, record.model_copy(update={"facts": record.facts | facts}))

    def _say(self, state: str, found: gates.Verdict, outcome: Outcome) -> None:
        first = outcome.metrics.get(self.cell.benchmark, {}).get("pass@1", {})
        headline = first.get(self.benchmark.headline)
        print(f"{self.cell.benchmark}: {state} {found.reason} {self.benchmark.headline}={headline}",
              *(f"  warning: {w}" for w in found.warnings), sep="\n", flush=True)  # fmt: skip
