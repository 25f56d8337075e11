"""Is there a judge for what needs one, is its key at hand, and what will it be asked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from harness.benchmarks.prepare import is_prepared, open_items
from harness.benchmarks.registry import Benchmark, Item, parse
from harness.config.evaluate import EvalSpec
from harness.config.evaluation import EvaluationSpec
from harness.config.judge import JudgeSpec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.errors import EvaluationError, UserError
from harness.plan.plan import PlannedJob, build_plan, eval_plan
from harness.preflight.evaluation.flags import check_flags, check_settings
from harness.preflight.findings import Finding, error, note
from harness.preflight.training.model import check_model
from harness.runs.reader import RunReader

CALLS_PER_ITEM = 2
"""Both orders (arena-hard), or both turns (mt-bench)."""
CHARS_PER_TOKEN = 4
"""Of English text, about; only for the estimate."""
PLACE = "evaluation.judge"


def check_judge(spec: Spec | EvalSpec, site: Site, rows: int | None) -> list[Finding]:
    """Findings about `evaluation.judge`; none where no benchmark needs a judge."""
    assert spec.evaluation
    evaluation = spec.evaluation
    runs = [parse(word, "evaluation.benchmarks") for word in evaluation.benchmarks]
    judged = [run.benchmark for run in runs if run.benchmark.needs_judge]
    if not judged:
        return []
    names = ", ".join(benchmark.name for benchmark in judged)
    judge = evaluation.judge
    if judge is None:
        cure = "judge: {model: gpt-4o, api_key_env: OPENAI_API_KEY}, or judge: {serve: {model: …}}"
        return [error(PLACE, f"{names}: graded by a judge, and the spec names none", cure)]
    findings = _check_served(judge, site) if judge.serve else _check_endpoint(judge, site)
    return findings + _estimates(spec, judged, Path(site.benchmarks_dir), rows)


def check_key(facts: RunReader, jobs: Iterable[PlannedJob]) -> None:
    """Before jobs of a run that is there are submitted again: is the judge's key at hand?

    Raises UserError.
    """
    judge = evaluation.judge if (evaluation := facts.evaluated.evaluation) else None
    if judge and any(job.judges for job in jobs):
        findings = _check_endpoint(judge, facts.site)
        missing = "\n".join(str(f) for f in findings if f.level == "error")
        if missing:
            raise UserError(f"{missing.removeprefix('error: ')}\nnothing was submitted")


def _check_served(judge: JudgeSpec, site: Site) -> list[Finding]:
    assert judge.serve
    place = f"{PLACE}.serve"
    found = check_model(judge.serve.model)
    findings = [f.model_copy(update={"place": f"{place}.model"}) for f in found]
    server = judge.serve.server
    findings += check_settings(server, f"{place}.server")
    return findings + check_flags(server, site, f"{place}.server.flags.")


def _check_endpoint(judge: JudgeSpec, site: Site) -> list[Finding]:
    findings = []
    key = judge.api_key_env
    if key and not os.environ.get(key, "").strip():
        cure = f"export {key}=… in the shell that submits, or api_key_env: null for none"
        findings.append(error(f"{PLACE}.api_key_env", f"${key} is not set", cure))
    if key and key not in site.secrets:
        listed = ", ".join([*site.secrets, key])
        cure = f"secrets: [{listed}] in the site file"
        findings.append(
            error(f"{PLACE}.api_key_env", f"the site does not let jobs see ${key}", cure)
        )
    host = urlsplit(judge.base_url).netloc
    text = (
        f"jobs without GPUs (site: jobs.judge, else jobs.control) ask {host} once the answers are "
        "there: their nodes need the way there"
    )
    findings.append(note(f"{PLACE}.base_url", text))
    return findings


def _estimates(
    spec: Spec | EvalSpec, judged: list[Benchmark], folder: Path, rows: int | None
) -> list[Finding]:
    """Calls exactly; tokens by their characters, each answer and judgement at its longest."""
    evaluation = spec.evaluation
    assert evaluation and evaluation.judge
    try:
        plan = (
            eval_plan(spec, Site())
            if isinstance(spec, EvalSpec)
            else build_plan(spec, Site(), rows)
        )
        checkpoints = len(plan.checkpoints)
    except UserError:  # told by the check of steps
        return []
    findings = []
    for benchmark in judged:
        count = min(benchmark.items, evaluation.max_items or benchmark.items)
        calls = checkpoints * count * CALLS_PER_ITEM
        text = f"{benchmark.name}: {calls} calls ({checkpoints} checkpoints x {count} items x 2)"
        if not evaluation.judge.serve:
            text += f" to {evaluation.judge.model or benchmark.judge_model}"
        longest = evaluation.judge.max_tokens or benchmark.judge_max_tokens
        if is_prepared(folder, benchmark.name):
            try:
                items = open_items(folder, benchmark.name)[:count]
            except EvaluationError as problem:
                findings.append(error("evaluation.benchmarks", str(problem)))
                continue
            prompt = checkpoints * sum(_prompt_tokens(item, evaluation) for item in items)
            text += f"; at most about {_short(prompt)} prompt tokens and"
        else:
            text += "; at most"
        text += (
            f" {_short(calls * longest)} answer tokens, if every answer takes its "
            f"{evaluation.sampling.max_tokens} and every judgement its {longest} tokens"
        )
        findings.append(note(PLACE, text))
    return findings


def _prompt_tokens(item: Item, evaluation: EvaluationSpec) -> int:
    """Tokens of both calls on an item, its answers as long as they may get."""
    answer = evaluation.sampling.max_tokens
    if "turns" in item:
        instructions = sum(len(p["system"]) + len(p["template"]) for p in item["judge_prompts"])
        told = [*item["turns"], *item.get("references", [])]
        chars = instructions + 2 * sum(map(len, told))
        return chars // CHARS_PER_TOKEN + 3 * answer
    chars = 2 * (len(item["question"]) + len(item["baseline_answer"]) + _ARENA_INSTRUCTIONS)
    return chars // CHARS_PER_TOKEN + 2 * answer


_ARENA_INSTRUCTIONS = 2200
"""Characters of arena-hard's instructions to the judge."""


def _short(tokens: int) -> str:
    """`1.2 M`, `340 k`, `64`."""
    if tokens < 1000:
        return str(tokens)
    return f"{tokens / 1e6:.1f} M" if tokens >= 1e6 else f"{round(tokens / 1e3)} k"
