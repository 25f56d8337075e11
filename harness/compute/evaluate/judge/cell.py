"""One judged cell: answers on disk -> judgements -> metrics.json."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import harness
from harness.benchmarks.registry import Item
from harness.compute.evaluate import gates
from harness.compute.evaluate.builtin.aggregate import common_metrics
from harness.compute.evaluate.builtin.responses import strip_reasoning
from harness.compute.evaluate.judge.arena import ARENA
from harness.compute.evaluate.judge.ask import Asking
from harness.compute.evaluate.judge.calls import Call, Judged, Row
from harness.compute.evaluate.judge.judge import Judge
from harness.compute.evaluate.judge.judgements import Judgement, key_of, read_judgements
from harness.compute.evaluate.judge.mt_bench import MT_BENCH
from harness.runs.files import write_json, write_text

if TYPE_CHECKING:
    from harness.compute.evaluate.cell import CellWork

KINDS = {"judge:mt-bench": MT_BENCH, "judge:arena": ARENA}
WARN_INVALID_SHARE = 0.02


def judge_cell(work: CellWork, judge: Judge) -> str:
    """Judge a cell's answers and write its result; returns the cell's state.

    Answers that cannot be a result are not judged: that would pay for nothing. Raises
    EvaluationError when the judge leaves calls without an answer; what came is kept.
    """
    began = time.monotonic()
    items, rows = work.items(), work.samples[0]
    reason = gates.invalid_reason(rows, len(items))
    if reason:
        _write_output(work, [{**i, **r} for i, r in zip(items, rows, strict=False)])
        return _finish(work, "invalid", f"{reason}; nothing was judged", {})
    kind = KINDS[work.benchmark.grader]
    judged, usage = judge_rows(work, judge, kind, items, rows)
    work.seconds["grade"] = round(time.monotonic() - began, 2)
    _write_output(work, judged)
    metrics = judged_metrics(work.cell.benchmark, kind, judged)
    write_json(work.paths.metrics, metrics)
    share = usage["invalid"] / max(usage["calls"], 1)
    warnings = gates.warnings(work.benchmark, rows, metrics[work.cell.benchmark])
    if share > WARN_INVALID_SHARE:
        cut = usage["cut_at_max_tokens"]
        warnings.append(f"{usage['invalid']} of {usage['calls']} judgements have no verdict"
                        + (f"; {cut} were cut at the judge's max_tokens" if cut else ""))  # fmt: skip
    facts = {
        "judge": judge.facts(work.benchmark),
        "judge_usage": usage,
        "warnings": warnings,
        "versions": {"harness": harness.__version__},
    }
    if share > judge.spec.max_invalid_share or usage["invalid"] == usage["calls"]:
        reason = f"{usage['invalid']} of {usage['calls']} judgements have no verdict"
    headline = metrics[work.cell.benchmark]["pass@1"][work.benchmark.headline]
    print(f"{work.cell.benchmark}: {work.benchmark.headline}={headline}",
          *(f"  warning: {w}" for w in warnings), sep="\n", flush=True)  # fmt: skip
    return _finish(work, "invalid" if reason else "ok", reason, facts)


def judge_rows(
    work: CellWork, judge: Judge, kind: Judged, items: Sequence[Item], rows: Sequence[Row]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows with `judgement-<call>`, and how many calls and tokens they cost in all."""
    settings = {"model": judge.model(work.benchmark), **judge.request(work.benchmark)}
    calls = [c for i, r in zip(items, rows, strict=True) for c in kind.calls(i, r)]
    keyed = {key_of(call, settings): call for call in calls}
    done = read_judgements(work.paths.judgements)
    todo = [(key, call) for key, call in keyed.items() if key not in done]
    if len(todo) < len(keyed):
        print(f"{work.cell.benchmark}: {len(keyed) - len(todo)} of {len(keyed)} judgements are "
              "there already", flush=True)  # fmt: skip
    refused: Mapping[str, str] = {}
    if todo:
        asking = Asking(
            name=work.cell.benchmark,
            todo=todo,
            path=work.paths.judgements,
            endpoint=judge.endpoint(work.benchmark),
            request=judge.request(work.benchmark),
            concurrency=judge.spec.concurrency,
            timeout_s=judge.spec.timeout_minutes * 60,
            retries=judge.spec.retries,
            readable=lambda text: kind.readable(strip_reasoning(text)),
            label=judge.model(work.benchmark),
        )
        asking.run()
        done, refused = {**done, **asking.came}, asking.refused
    return _with_judgements(items, rows, keyed, done, refused), _usage(kind, keyed, done)


def _with_judgements(
    items: Sequence[Item],
    rows: Sequence[Row],
    keyed: Mapping[str, Call],
    done: Mapping[str, Judgement],
    refused: Mapping[str, str],
) -> list[dict[str, Any]]:
    by_item: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for key, call in keyed.items():
        text = done[key]["judgement"] if key in done else ""
        # A judge may think aloud about every verdict; what follows its thoughts counts.
        by_item[call.item][f"judgement-{call.name}"] = strip_reasoning(text)
        if key in refused:
            by_item[call.item][f"judgement-{call.name}-refused"] = refused[key]
    return [{**i, **r, **by_item[i["id"]]} for i, r in zip(items, rows, strict=True)]


def _usage(
    kind: Judged, keyed: Mapping[str, Call], done: Mapping[str, Judgement]
) -> dict[str, Any]:
    used = [done[key] for key in keyed if key in done]
    readable = sum(kind.readable(strip_reasoning(j["judgement"])) for j in used)
    return {
        "calls": len(keyed),
        "invalid": len(keyed) - readable,
        "prompt_tokens": sum(j["prompt_tokens"] or 0 for j in used),
        "completion_tokens": sum(j["completion_tokens"] or 0 for j in used),
        "cut_at_max_tokens": sum(j["finish_reason"] == "length" for j in used),
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


def _write_output(work: CellWork, rows: Sequence[Row]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    write_text(work.paths.output(0), "".join(f"{line}\n" for line in lines))


def _finish(work: CellWork, state: str, reason: str, facts: Mapping[str, Any]) -> str:
    work.record(state, reason, seconds=work.seconds, **facts)
    work.paths.partial(0).unlink(missing_ok=True)
    print(f"{work.cell.benchmark}: {state} {reason}".rstrip(), flush=True)
    return state
