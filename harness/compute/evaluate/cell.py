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
from harness.compute.evaluate.earlier import reopen, set_aside
from harness.compute.evaluate.evaluators.builtin import BuiltinEvaluator
from harness.compute.evaluate.evaluators.evaluator import Evaluator, Outcome
from harness.compute.evaluate.evaluators.select import evaluator_of
from harness.compute.evaluate.judge import Judge
from harness.compute.evaluate.provenance import gpu_seconds, idle_seconds, versions
from harness.compute.serve.server import RunningServer
from harness.config.evaluation import EvaluationSpec
from harness.errors import HarnessError, ResultError, ServerError, one_line
from harness.plan.plan import Cell
from harness.runs import metrics
from harness.runs.files import utc_now
from harness.runs.metrics import TaskRecord, has_result, read_task, record_failed, write_task
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
    settled: bool = False
    """Whether this is that job: nobody is asked any more for what a request failed to get."""
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
    ended: bool = False
    """Whether this job has made it what it will be."""

    @property
    def benchmark(self) -> Benchmark:
        return BENCHMARKS[self.cell.benchmark]

    @cached_property
    def evaluator(self) -> Evaluator:
        """Who asks and grades."""
        return evaluator_of(
            self.benchmark, self.paths, self.cell.repeats, self.evaluation,
            benchmarks_dir=self.benchmarks_dir, request_body=self.request_body,
            settled=self.settled, judge=self.judge, tokenizer=self.tokenizer, wrap=self.wrap,
        )  # fmt: skip

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
            # Of a server that somebody else runs nothing is known, and nothing is said.
            "engine": self.evaluation.server.engine if self.model else "",
            "dtype": self.evaluation.server.dtype if self.model else "",
        }

    def is_done(self) -> bool:
        """Whether a result of the same inputs is there. Others' answers are set aside."""
        try:
            record = read_task(self.paths)
        except ResultError:
            set_aside(self.paths)  # of whatever inputs the answers beside it are
            return False
        if record is None:
            return False
        same = {k: record.facts.get(k) for k in self.inputs()} == self.inputs()
        if not same:
            set_aside(self.paths)
            return False
        self._carry(record)
        if self.judge and self._is_judged_otherwise(record, self.judge):
            reopen(self.paths, self.cell.repeats)
            return False
        if record.state != "ok":
            return False
        try:
            metrics.read_result(self.paths, self.cell.benchmark, record)
        except ResultError as error:
            print(f"{error}: the answers that are there are graded again", flush=True)
            reopen(self.paths, self.cell.repeats)
            return False
        return True

    def _carry(self, record: TaskRecord) -> None:
        """What jobs before this one spent on these answers, and whom they asked."""
        facts = record.facts
        self.started = record.started or self.started
        self.earlier = dict(facts.get("seconds", {}))
        self.restarts = facts.get("restarts", 0)
        self.served_fingerprint = facts.get("served_fingerprint", "")
        self.server_facts = {k: facts[k] for k in ("engine_version", "served_as") if k in facts}

    def _is_judged_otherwise(self, record: TaskRecord, judge: Judge) -> bool:
        """Whether good answers were judged by another judge, or without enough verdicts."""
        by = record.facts.get("judge")
        return by is not None and (record.state != "ok" or by != judge.facts(self.benchmark))

    def has_answers(self) -> bool:
        """Whether every answer of every repeat is there: then no server is needed."""
        return self.evaluator.has_answers()

    def record(self, state: Any, reason: str = "", **facts: Any) -> None:
        """Write task.json."""
        origin: dict[str, Any] = self.inputs() | self.server_facts
        origin["concurrency"] = self.evaluation.concurrency  # batches change answers, a little
        if self.served_fingerprint not in ("", self.fingerprint):
            origin["served_fingerprint"] = self.served_fingerprint
        if self.template_sha256:
            origin["template_sha256"] = self.template_sha256
        if seconds := self._all_seconds():
            origin |= {"seconds": seconds, "restarts": self.restarts}
        if self.judged_apart and state in ("answered", "invalid", "failed"):
            same = not (self.model and gates.changed_model(self.model, self.fingerprint))
            origin["answers_kept"] = same and self.evaluator.has_answers(settled=False)
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

    def fail(self, error: BaseException) -> None:
        """Write down why there is no result; what this job has made of it already stays."""
        if self.ended or has_result(self.paths):
            return
        if isinstance(error, ServerError) and error.log:
            self.log = str(error.log)
        try:
            self.record("failed", one_line(error))
        except (HarnessError, OSError):  # its data are not there, which may be the very reason
            record_failed(self.paths, one_line(error), self.log)

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
        """Leave the answers to the job that has them judged; returns the cell's state.

        Answers that cannot be a result are not left to it: `retry` asks for them again.
        """
        assert isinstance(self.evaluator, BuiltinEvaluator)
        tallies, limits = self.evaluator.tallies(), self.evaluation.gates
        found = gates.all_answers_verdict(tallies, len(self.evaluator.items), limits)
        state, reason = "answered", ""
        if found.reasons:
            state, reason = "invalid", f"{found.reason}; nothing was judged"
            self._drop_answers(tallies)
        counts = [count.counts() for count in tallies]
        self.record(state, reason, warnings=found.warnings, answers=counts)
        self.ended = True
        print(f"{self.cell.benchmark}: {reason or 'a job without GPUs has it judged'}", flush=True)
        return state

    def _drop_answers(self, tallies: Sequence[gates.Tally]) -> None:
        """Answers that were graded are in the output files; where requests failed, `retry` asks for
        the rest, and needs the others."""
        if not any(count.errors for count in tallies):
            for repeat in range(self.cell.repeats):
                self.paths.partial(repeat).unlink(missing_ok=True)

    def grade(self, phase: str = "grade") -> str:
        """Grade, gate and write the result; returns the cell's state."""
        began = time.monotonic()
        outcome = self.evaluator.metrics()
        found = self._gates(outcome)
        self._spend(phase, time.monotonic() - began)
        facts = dict(outcome.facts)
        if outcome.metrics:
            facts["metrics_sha256"] = metrics.write_metrics(self.paths, outcome.metrics)
        state = "ok" if not found.reasons else "invalid"
        facts["versions"] = versions() | dict(facts.get("versions", {}))
        facts["answers"] = [count.counts() for count in outcome.tallies]
        self.record(state, found.reason, warnings=found.warnings, **facts)
        self.ended = True
        self._drop_answers(outcome.tallies)
        self._say(state, found, outcome)
        return state

    def _gates(self, outcome: Outcome) -> gates.Verdict:
        limits = self.evaluation.gates
        expected = self.inputs().get("items", outcome.items)
        found = gates.Verdict(warnings=list(outcome.warnings))
        found.join(gates.all_answers_verdict(outcome.tallies, expected, limits))
        if not outcome.metrics:
            found.reasons = [outcome.reason or "there are no metrics"]
        else:
            found.reasons += [outcome.reason] if outcome.reason else []
            own = outcome.metrics.get(self.cell.benchmark, {})
            found.join(gates.metrics_verdict(self.benchmark, own, expected, limits))
        if self.model is not None:
            served = str(self.server_facts.get("served_as", ""))
            trained = self.template if self.cell.checkpoint != BASE else None
            found.join(gates.model_verdict(self.model, self.fingerprint, served, trained, limits))
        return found

    def account(self, task_seconds: float, task_spent: float, cells: int) -> None:
        """Add idle and GPU seconds to task.json, once the task is through with all its cells."""
        record = read_task(self.paths)
        assert record is not None, "grade() or leave_to_judge() has written it"
        self._spend("idle", idle_seconds(task_seconds, task_spent, cells))
        seconds = self._all_seconds()
        spent = gpu_seconds(seconds, self.evaluation.server.gpu_count)
        facts = {"seconds": seconds, "gpu_seconds": spent}
        write_task(self.paths, record.model_copy(update={"facts": record.facts | facts}))

    def _say(self, state: str, found: gates.Verdict, outcome: Outcome) -> None:
        first = outcome.metrics.get(self.cell.benchmark, {}).get("pass@1", {})
        headline = first.get(self.benchmark.headline)
        print(f"{self.cell.benchmark}: {state} {found.reason} {self.benchmark.headline}={headline}",
              *(f"  warning: {w}" for w in found.warnings), sep="\n", flush=True)  # fmt: skip
