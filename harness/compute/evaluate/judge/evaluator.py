"""One judged cell: answers on disk -> judgements -> metrics.json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from harness.benchmarks.items import Item
from harness.compute.evaluate.answers.finish import ending
from harness.compute.evaluate.evaluators.builtin import BuiltinEvaluator
from harness.compute.evaluate.evaluators.evaluator import Outcome
from harness.compute.evaluate.gates import answers_verdict, tally
from harness.compute.evaluate.graders.responses import strip_reasoning
from harness.compute.evaluate.graders.tokens import common_metrics
from harness.compute.evaluate.judge.ask import Asking
from harness.compute.evaluate.judge.calls import Call, Judged, Row
from harness.compute.evaluate.judge.judge import Judge
from harness.compute.evaluate.judge.judgements import Judgement, key_of, read_judgements
from harness.config.graders import GRADERS
from harness.runs.files import open_atomic
from harness.runs.rows import json_line

WARN_INVALID_SHARE = 0.02


@dataclass
class JudgedEvaluator(BuiltinEvaluator):
    """Asks as the builtin evaluator does; its answers are graded by a judge."""

    judge: Judge = field(kw_only=True)

    def metrics(self) -> Outcome:
        """Judge the answers.

        Answers that cannot be a result are not judged: that would pay for nothing. Raises
        EvaluationError when the judge leaves calls without an answer; what came is kept.
        """
        (answers,) = self._answers
        rows = list(answers.rows(item["id"] for item in self.items))
        count = tally(rows)
        reason = answers_verdict(count, len(self.items), self.evaluation.gates).reason
        if reason:
            self._write_output([{**i, **r} for i, r in zip(self.items, rows, strict=True)])
            return Outcome({}, [count], reason=f"{reason}; nothing was judged")
        kind = judged_kind(self.benchmark.grader)
        judged, usage = self._judge_rows(kind, rows)
        self._write_output(judged)
        metrics = judged_metrics(self.benchmark.name, kind, judged)
        told = f"{usage['invalid']} of {usage['calls']} judgements have no verdict"
        share = usage["invalid"] / max(usage["calls"], 1)
        warnings = []
        if share > WARN_INVALID_SHARE:
            cut = usage["cut_at_max_tokens"]
            warnings.append(told + (f"; {cut} were cut at the judge's max_tokens" if cut else ""))
        if share > self.judge.spec.max_invalid_share or usage["invalid"] == usage["calls"]:
            reason = told
        facts = {"judge": self.judge.facts(self.benchmark), "judge_usage": usage}
        return Outcome(metrics, [count], reason, warnings, facts)

    def _judge_rows(
        self, kind: Judged, rows: Sequence[Row]
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Rows with `judgement-<call>`, and how many calls and tokens they cost in all.

        A row without an answer has empty judgements, which no call was made for.
        """
        judge, benchmark, name = self.judge, self.benchmark, self.benchmark.name
        settings = judge.settings(benchmark)
        pairs = list(zip(self.items, rows, strict=True))
        empty = [c for item, row in pairs if "error" in row for c in kind.calls(item, row)]
        calls = [c for item, row in pairs if "error" not in row for c in kind.calls(item, row)]
        keyed = {key_of(call, settings): call for call in calls}
        done = read_judgements(self.paths.judgements)
        todo = [(key, call) for key, call in keyed.items() if key not in done]
        if len(todo) < len(keyed):
            print(f"{name}: {len(keyed) - len(todo)} of {len(keyed)} judgements are "
                  "there already", flush=True)  # fmt: skip
        refused: Mapping[str, str] = {}
        if todo:
            asking = Asking(
                name=name,
                todo=todo,
                path=self.paths.judgements,
                endpoint=judge.endpoint(benchmark),
                request=judge.request(benchmark),
                concurrency=judge.spec.concurrency,
                timeout_s=judge.spec.timeout_minutes * 60,
                retries=judge.spec.retries,
                readable=lambda text: kind.readable(strip_reasoning(text)),
                label=judge.model(benchmark),
            )
            asking.run()
            done, refused = {**done, **asking.came}, asking.refused
        judged = _with_judgements(pairs, keyed, done, refused, empty)
        return judged, _usage(kind, keyed, done)

    def _write_output(self, rows: Sequence[Row]) -> None:
        with open_atomic(self.paths.output(0)) as file:
            file.writelines(json_line(dict(row)) for row in rows)


def judged_kind(grader: str) -> Judged:
    """How a kind of benchmark is judged: its module's own word."""
    module = import_module(f"{__package__}.{GRADERS[grader].module}")
    kind: Judged = module.JUDGED
    return kind


def _with_judgements(
    pairs: Sequence[tuple[Item, Row]],
    keyed: Mapping[str, Call],
    done: Mapping[str, Judgement],
    refused: Mapping[str, str],
    empty: Sequence[Call],
) -> list[dict[str, Any]]:
    by_item: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for call in empty:
        by_item[call.item][f"judgement-{call.name}"] = ""
    for key, call in keyed.items():
        text = done[key]["judgement"] if key in done else ""
        # A judge may think aloud about every verdict; what follows its thoughts counts.
        by_item[call.item][f"judgement-{call.name}"] = strip_reasoning(text)
        if key in refused:
            by_item[call.item][f"judgement-{call.name}-refused"] = refused[key]
    return [{**item, **row, **by_item[item["id"]]} for item, row in pairs]


def _usage(
    kind: Judged, keyed: Mapping[str, Call], done: Mapping[str, Judgement]
) -> dict[str, Any]:
    used = [done[key] for key in keyed if key in done]
    readable = sum(kind.readable(strip_reasoning(j["judgement"])) for j in used)
    return {
        "calls": len(keyed),
        "invalid": len(keyed) - readable,
        "prompt_tokens": sum(j.get("prompt_tokens") or 0 for j in used),
        "completion_tokens": sum(j.get("completion_tokens") or 0 for j in used),
        "cut_at_max_tokens": sum(ending(j.get("finish_reason")) == "cut" for j in used),
    }


def judged_metrics(
    benchmark: str, kind: Judged, rows: Sequence[Row]
) -> dict[str, dict[str, dict[str, Any]]]:
    """What metrics.json holds: the benchmark, and one entry for each of its subsets."""
    subsets: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if "subset_for_metrics" in row:
            subsets[row["subset_for_metrics"]].append(row)
    groups = {benchmark: rows, **{f"{benchmark}-{name}": own for name, own in subsets.items()}}
    return {
        name: {"pass@1": {**common_metrics([[row] for row in own]), **kind.metrics(own)}}
        for name, own in groups.items()
    }
