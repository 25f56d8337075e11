"""The builtin evaluator: asks every item itself, grades by libraries, sums up as NeMo-Skills does."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from harness.benchmarks.items import ItemFile
from harness.benchmarks.prepare import (
    ground_truth_link,
    is_prepared,
    nltk_data,
    open_items,
)
from harness.benchmarks.registry import Benchmark, Item
from harness.compute.evaluate.answers.file import Answers, chunks
from harness.compute.evaluate.answers.generate import SEED_RULE, Generation, generate
from harness.compute.evaluate.endpoint.replies import REASONING
from harness.compute.evaluate.evaluators.evaluator import Outcome
from harness.compute.evaluate.gates import Tally, tally
from harness.compute.evaluate.graders import Grader, grader_of
from harness.compute.evaluate.graders.aggregate import BenchmarkAggregator
from harness.compute.serve.server import RunningServer
from harness.config.evaluation import EvaluationSpec
from harness.errors import EvaluationError
from harness.runs.files import open_atomic
from harness.runs.paths import CellPaths
from harness.runs.rows import json_line

Row = dict[str, Any]
_NOT_FOR_SUMS = frozenset(
    {"completion", "generation", "generations", "serialized_output", *REASONING}
)


@dataclass
class BuiltinEvaluator:
    """Satisfies `Evaluator`. Of items and answers only one chunk is in memory at a time."""

    benchmark: Benchmark
    benchmarks_dir: Path
    paths: CellPaths
    repeats: int
    evaluation: EvaluationSpec
    request_body: Mapping[str, Any] = field(default_factory=dict)
    """Fields that only this engine's requests have."""
    settled: bool = False
    """Whether items whose requests failed count as asked: their answers wait for the judge alone."""
    _answers: list[Answers] = field(default_factory=list)

    backend = "builtin"

    @cached_property
    def items(self) -> ItemFile:
        """The items asked. Raises EvaluationError when the benchmark is not prepared."""
        return open_items(self.benchmarks_dir, self.benchmark.name, self.evaluation.max_items)

    @property
    def failed_requests(self) -> int:
        """See `Evaluator.failed_requests`."""
        return sum(answers.errors for answers in self._answers)

    def prepare(self) -> None:
        """See `Evaluator.prepare`."""
        name = self.benchmark.name
        if not is_prepared(self.benchmarks_dir, name):
            raise EvaluationError(f"{name} is not prepared: python -m harness prepare {name}")
        assert len(self.items) > 0

    def inputs(self) -> dict[str, Any]:
        """See `Evaluator.inputs`."""
        return self._inputs

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for item in self.items:
            digest.update(json.dumps(self.benchmark.turns(item)).encode() + b"\n")
        return {
            "items": len(self.items),
            "items_of_benchmark": self.benchmark.items,
            "prompts_sha256": digest.hexdigest(),
            "repeats": self.repeats,
            "body": dict(self.evaluation.body) or None,
        }

    def has_answers(self, settled: bool | None = None) -> bool:
        """See `Evaluator.has_answers`."""
        settled = self.settled if settled is None else settled
        for repeat in range(self.repeats):
            answers = Answers(self.paths.partial(repeat), settled=settled)
            if not all(item["id"] in answers for item in self.items):
                return False
        return True

    def run(self, server: RunningServer | None) -> None:
        """See `Evaluator.run`."""
        self._answers = []  # after a restart of the server: from disk, then the rest
        for repeat in range(self.repeats):
            work = Generation(
                self.benchmark, self.items, repeat, self.paths.partial(repeat), self.request_body
            )
            self._answers.append(generate(work, server, self.evaluation, settled=self.settled))

    def tallies(self) -> list[Tally]:
        """What the gates must know of the answers that `run` left, before they are graded."""
        ids = [item["id"] for item in self.items]
        return [tally(answers.rows(ids)) for answers in self._answers]

    def metrics(self) -> Outcome:
        """See `Evaluator.metrics`; writes `output-rs<k>.jsonl`: item, answer and grade."""
        os.environ["NLTK_DATA"] = str(nltk_data(self.benchmarks_dir))
        grader = grader_of(self.benchmark.grader, **self._grader_options())
        sums = BenchmarkAggregator(self.benchmark.name, self.benchmark.grader, self.repeats)
        tallies = [Tally() for _ in range(self.repeats)]
        done = 0
        with ExitStack() as files:
            outputs = [
                files.enter_context(open_atomic(self.paths.output(k))) for k in range(self.repeats)
            ]
            for part in chunks(self.items):
                samples = [
                    _graded(grader, part, answers, tally, out)
                    for answers, tally, out in zip(self._answers, tallies, outputs, strict=True)
                ]
                for item, rows in zip(part, zip(*samples, strict=True), strict=True):
                    sums.add(item, rows)
                done += len(part)
                if len(self.items) > len(part):
                    print(f"{self.benchmark.name}: {done} of {len(self.items)} graded", flush=True)
        facts = {
            "versions": self._versions(),
            "seed_rule": SEED_RULE if self.evaluation.reads_seeds else "",
        }
        return Outcome(sums.metrics(), tallies, warnings=self._warnings(), facts=facts)

    def _warnings(self) -> list[str]:
        if self.items.total < self.benchmark.items:
            return [f"only {self.items.total} of {self.benchmark.items} items are prepared"]
        return []

    def _grader_options(self) -> dict[str, Any]:
        if not self.benchmark.runs_code:
            return {}
        return {
            "ground_truth": ground_truth_link(self.benchmarks_dir, self.benchmark.name),
            "allow_unsandboxed": self.evaluation.allow_unsandboxed_code,
        }

    def _versions(self) -> dict[str, str]:
        """Of the client that asks, and of what decides the grades."""
        packages = self.benchmark.kind.packages if self.benchmark.kind else ()
        return {name: metadata.version(name) for name in ("aiohttp", *packages)}


def _graded(
    grader: Grader, items: Sequence[Item], answers: Answers, tally: Tally, out: IO[bytes]
) -> list[Row]:
    """Grade a chunk and write its rows; returns of each row what the sums need."""
    rows = list(answers.rows(item["id"] for item in items))
    grades = grader.grade(items, [row.get("generation") or "" for row in rows])
    kept = []
    for item, row, grade in zip(items, rows, grades, strict=True):
        tally.add(row)
        out.write(json_line({**item, **row, **grade}))
        timing = {k: v for k, v in row.items() if k not in _NOT_FOR_SUMS}
        kept.append(timing | {k: v for k, v in grade.items() if k not in _NOT_FOR_SUMS})
    return kept
