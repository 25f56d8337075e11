"""Tasks of lm-evaluation-harness, asked and graded by its own program through our server.

Results file: lm-eval 0.4.13, `<output_path>/<model>/results_<time>.json` with `results` by task
(`<metric>,<filter>`), and `n-samples` with `original` and `effective` numbers of items.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.compute.evaluate.evaluators.run_program import ProgramResult, run_program
from harness.compute.serve.server import RunningServer
from harness.config.backends import LmEvalSpec
from harness.config.evaluation import EvaluationSpec, Sampling
from harness.errors import EvaluationError, ResultError
from harness.runs.files import read_json
from harness.runs.metrics import Metrics

PREFIX = "lm-eval."
NO_TOKENIZER = "lm_eval.api: completions needs the model's tokenizer: give lm_eval.tokenizer, or a model's folder"
SHARES = frozenset(
    ["acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "em", "f1", "mc1", "mc2",
     "pass@1", "prompt_level_strict_acc", "prompt_level_loose_acc", "inst_level_strict_acc",
     "inst_level_loose_acc", "mcc", "contains", "bypass"]
)  # fmt: skip
"""Metrics that lm-eval gives as 0..1 and our schema as percentages; others stay as they are."""


def run_command(
    task: str,
    folder: Path,
    *,
    python: str,
    model: str,
    tokenizer: str,
    base_url: str,
    concurrency: int,
    sampling: Sampling,
    max_items: int | None,
    timeout_s: float,
    options: LmEvalSpec,
) -> list[str]:
    """`lm-eval run` of one task. The key travels in the environment (OPENAI_API_KEY)."""
    path = "chat/completions" if options.api == "chat" else "completions"
    arguments = {
        "model": model,
        "base_url": f"{base_url}/{path}",
        "num_concurrent": concurrency,
        "max_retries": 4,
        "timeout": round(timeout_s),
        "tokenized_requests": False,
        "seed": sampling.seed,
    }
    if options.api == "completions":
        arguments |= {"tokenizer": tokenizer, "tokenizer_backend": "huggingface"}
    argv = [
        python, "-m", "lm_eval", "run",
        "--model", "local-chat-completions" if options.api == "chat" else "local-completions",
        "--model_args", *(f"{name}={value}" for name, value in arguments.items()),
        "--tasks", task,
        "--output_path", str(folder),
        "--log_samples",
    ]  # fmt: skip
    if options.api == "chat":
        argv.append("--apply_chat_template")
        if "gen_kwargs" not in options.options:
            argv += ["--gen_kwargs", f"temperature={sampling.temperature}",
                     f"top_p={sampling.top_p}", f"max_gen_toks={sampling.max_tokens}"]  # fmt: skip
    if options.include_path:
        argv += ["--include_path", options.include_path]
    if options.num_fewshot is not None:
        argv += ["--num_fewshot", str(options.num_fewshot)]
    if max_items is not None:
        argv += ["--limit", str(max_items)]
    for name, value in options.options.items():
        if value is not False:
            argv += [f"--{name}"] if value is True else [f"--{name}", *str(value).split()]
    return argv


def results_file(folder: Path) -> Path:
    """The newest results file. Raises EvaluationError when there is none."""
    found = sorted(folder.glob("**/results_*.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise EvaluationError(f"lm-eval ended, but left no results_*.json in {folder}")
    return found[-1]


def read_results(path: Path, task: str, max_items: int | None) -> tuple[Metrics, int]:
    """Metrics of a task (and of the subtasks of a group), and its number of items.

    The filter `none` becomes the aggregation `pass@1`, another `pass@1[<filter>]`; `num_entries`
    is added. Raises EvaluationError for results that are unreadable, lack the task, are not
    finite, or were made of fewer items than the task has (and `max_items` allows).
    """
    try:
        data = read_json(path)
        results, counts = dict(data["results"]), dict(data["n-samples"])
    except (ResultError, KeyError, TypeError) as error:
        raise EvaluationError(f"{path}: no lm-eval results: {error}") from None
    if task not in results:
        raise EvaluationError(f"{path}: no {task} in it; it has {', '.join(results)}")
    for name, count in counts.items():
        original = count["original"]
        wanted = original if max_items is None else min(original, max_items)
        if count["effective"] != wanted:
            raise EvaluationError(
                f"{path}: {name}: {count['effective']} answers for {wanted} items"
            )
    total = sum(count["effective"] for count in counts.values())
    metrics: Metrics = {}
    for name, values in results.items():
        entries = counts[name]["effective"] if name in counts else total
        mapped = _aggregations(values, f"{path}: {name}")
        if mapped:
            metrics[f"{PREFIX}{name}"] = {
                k: {"num_entries": entries, **v} for k, v in mapped.items()
            }
    if f"{PREFIX}{task}" not in metrics:
        raise EvaluationError(f"{path}: {task} has no metric of its own")
    return metrics, total


def _aggregations(values: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        metric, comma, chosen = key.partition(",")
        if not comma or not isinstance(value, int | float) or isinstance(value, bool):
            continue  # alias, sample_len; a standard error that lm-eval gives as "N/A"
        if not math.isfinite(value):
            raise EvaluationError(f"{where}: {key} is {value}")
        aggregation = "pass@1" if chosen == "none" else f"pass@1[{chosen}]"
        share = metric.removesuffix("_stderr") in SHARES
        found.setdefault(aggregation, {})[metric] = value * 100 if share else value
    return found


def evaluate(
    task: str,
    folder: Path,
    server: RunningServer,
    evaluation: EvaluationSpec,
    tokenizer: str,
    wrap: Callable[[list[str]], list[str]] = list,
    python: str = "",
) -> ProgramResult:
    """Ask and grade one task or group. `tokenizer` is a folder or an id; only completions need it.

    Raises EvaluationError when lm-eval fails or its results do not add up; ServerError when the
    server dies.
    """
    options = evaluation.lm_eval
    if options.api == "completions" and not tokenizer:
        raise EvaluationError(NO_TOKENIZER)
    argv = run_command(
        task,
        folder,
        python=python or _python(wrap),
        model=server.model,
        tokenizer=tokenizer,
        base_url=server.base_url,
        concurrency=evaluation.concurrency,
        sampling=evaluation.sampling,
        max_items=evaluation.max_items,
        timeout_s=evaluation.request_timeout_minutes * 60,
        options=options,
    )
    # lm-eval takes the key from here, and no argument shows it.
    environ = {**os.environ, "OPENAI_API_KEY": server.api_key}
    run_program(
        wrap(argv),
        environ,
        folder / "lm-eval.log",
        limit_s=options.timeout_hours * 3600,
        server=server,
        hidden=[server.api_key],
    )
    path = results_file(folder)
    metrics, items = read_results(path, task, evaluation.max_items)
    data = read_json(path)
    facts = {
        "command": shlex.join(argv),
        "versions": {"lm-eval": data.get("lm_eval_version")},
        "task_versions": data.get("versions"),
        "task_hashes": data.get("task_hashes"),
    }
    return ProgramResult(metrics, [_answers(path)], items, facts)


def _python(wrap: Callable[[list[str]], list[str]]) -> str:
    """This Python, unless the role has an environment of its own, whose `python` it is then."""
    return "python" if "bash" in wrap(["x"]) or "exec" in wrap(["x"]) else sys.executable


def _answers(results: Path) -> list[dict[str, Any]]:
    """The answers in the samples files of the same moment, for the validity gates.

    Tasks that score choices have none. A task with two filters names each item twice.
    """
    moment = results.name.removeprefix("results_").removesuffix(".json")
    rows: dict[tuple[str, Any], dict[str, Any]] = {}
    for path in sorted(results.parent.glob(f"samples_*_{moment}.jsonl")):
        with path.open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                text = row["resps"][0][0] if row.get("resps") else None
                if isinstance(text, str):
                    rows[path.name, row["doc_id"]] = {"generation": text}
    return list(rows.values())
