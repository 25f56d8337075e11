"""Benchmarks of NeMo-Skills, asked and graded by its own `ns` in its own environment.

`ns` reports success by files, not by its exit code, which is 0 even when its inner commands
failed: an output file counts with its `.done` beside it, and the metrics with as many entries as
there are items. Commands and layout: NeMo-Skills 0.7.0 (pipeline/eval.py, summarize_results.py).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.config.backends import NemoSkillsSpec
from harness.config.evaluation import Sampling
from harness.errors import EvaluationError, ResultError
from harness.runs.metrics import Metrics, read_metrics

PREFIX = "nemo-skills."
KEY_VARIABLE = "HARNESS_SERVER_KEY"
"""The environment variable in which ns finds the server's key."""


def eval_command(
    benchmark: str,
    repeats: int,
    folder: Path,
    *,
    model: str,
    address: str,
    engine: str,
    concurrency: int,
    sampling: Sampling,
    options: NemoSkillsSpec,
) -> list[str]:
    """`ns eval` of one benchmark against a running server.

    ns knows the servers vllm and sglang; another OpenAI-compatible one passes for vllm.
    """
    argv = [
        "ns", "eval",
        f"--output_dir={folder}",
        f"--benchmarks={benchmark}:{repeats}" if repeats > 1 else f"--benchmarks={benchmark}",
        f"--model={model}",
        f"--server_type={'sglang' if engine == 'sglang' else 'vllm'}",
        f"--server_address={address}",
        f"--starting_seed={sampling.seed}",
    ]  # fmt: skip
    if options.data_dir:
        argv.append(f"--data_dir={options.data_dir}")
    if options.chunks:
        argv.append(f"--num_chunks={options.chunks}")
    for name, value in options.options.items():
        if value is not False:
            argv.append(f"--{name}" if value is True else f"--{name}={value}")
    return [
        *argv,
        f"++server.api_key_env_var={KEY_VARIABLE}",
        f"++inference.temperature={sampling.temperature}",
        f"++inference.top_p={sampling.top_p}",
        f"++inference.tokens_to_generate={sampling.max_tokens}",
        f"++max_concurrent_requests={concurrency}",
        *options.overrides,
    ]


def summarize_command(folder: Path) -> list[str]:
    """`ns summarize_results`: one metrics.json for all that lies in the folder."""
    return ["ns", "summarize_results", str(folder)]


def prepare_command(benchmark: str) -> list[str]:
    """`ns prepare_data` of one benchmark."""
    return ["ns", "prepare_data", benchmark]


def output_files(folder: Path, benchmark: str, repeats: int, seed: int = 0) -> list[Path]:
    """The files of answers that ns writes: one, or one for each seed."""
    root = folder / "eval-results" / benchmark
    if repeats <= 1:
        return [root / "output.jsonl"]
    return [root / f"output-rs{seed + k}.jsonl" for k in range(repeats)]


def read_answers(files: Sequence[Path], expected: int | None) -> list[list[dict[str, Any]]]:
    """The rows of each output file.

    Raises EvaluationError for a file that is missing, unmarked, torn, or has another number of
    rows than `expected` (None: all files must at least agree).
    """
    samples = []
    for path in files:
        if not path.is_file():
            raise EvaluationError(f"ns ended, but {path} is not there")
        if not path.with_name(f"{path.name}.done").exists():
            raise EvaluationError(f"ns ended, but {path.name}.done is not there: {path} is partial")
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise EvaluationError(f"{path}: a torn line: {error}") from None
        samples.append(rows)
    counts = {len(rows) for rows in samples}
    wanted = expected if expected is not None else max(counts)
    if counts != {wanted} or wanted == 0:
        raise EvaluationError(
            f"{files[0].parent}: {', '.join(map(str, sorted(counts)))} answers for {wanted} items"
        )
    return samples


def read_results(folder: Path, benchmark: str, items: int) -> Metrics:
    """ns's metrics of a benchmark under our name, e.g. `nemo-skills.gsm8k`.

    Raises EvaluationError when they are missing, unreadable, or made of another number of items.
    """
    path = folder / "eval-results" / benchmark / "metrics.json"
    if not path.is_file():
        path = folder / "eval-results" / "metrics.json"
    try:
        metrics = read_metrics(path)
    except ResultError as error:
        raise EvaluationError(f"ns ended, but left no metrics: {error}") from None
    own = metrics.get(benchmark)
    if own is None:
        raise EvaluationError(f"{path}: no {benchmark} in it; it has {', '.join(metrics)}")
    for aggregation, values in own.items():
        if values.get("num_entries") != items:
            raise EvaluationError(
                f"{path}: {benchmark}/{aggregation} counts {values.get('num_entries')} entries, "
                f"and there are {items} items"
            )
    parts = {k: v for k, v in metrics.items() if k == benchmark or k.startswith(f"{benchmark}-")}
    return {f"{PREFIX}{name}": values for name, values in parts.items()}


def count_items(data: Path, benchmark: str, split: str = "test") -> int | None:
    """Rows of a prepared benchmark; None where ns keeps no such file.

    ns itself reads `<data>/<benchmark, dots as folders>/<split>.jsonl` (pipeline/utils/eval.py).
    """
    path = data / benchmark.replace(".", "/") / f"{split}.jsonl"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())
