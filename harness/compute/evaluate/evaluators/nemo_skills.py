"""Benchmarks of NeMo-Skills, asked and graded by its own `ns` in its own environment.

`ns` reports success by files, not by its exit code, which is 0 even when its inner commands
failed: an output file counts with its `.done` beside it, and the metrics with as many entries as
there are items. Commands and layout: NeMo-Skills 0.7.0, commit
0b012df (pipeline/eval.py, summarize_results.py).
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.compute.evaluate.evaluators.run_program import ProgramResult, run_program
from harness.compute.serve.server import RunningServer
from harness.config.backends import NemoSkillsSpec
from harness.config.engines import ENGINES
from harness.config.evaluation import EvaluationSpec, Sampling
from harness.errors import CommandError, EvaluationError, ResultError
from harness.processes.shell import tethered
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
    """`ns eval` of one benchmark against a running server."""
    argv = [
        "ns", "eval",
        f"--output_dir={folder}",
        f"--benchmarks={benchmark}:{repeats}" if repeats > 1 else f"--benchmarks={benchmark}",
        f"--model={model}",
        # A server elsewhere that speaks OpenAI's protocol passes for vllm.
        f"--server_type={ENGINES[engine].ns_server_type or 'vllm'}",
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


def evaluate(
    benchmark: str,
    repeats: int,
    folder: Path,
    server: RunningServer,
    evaluation: EvaluationSpec,
    wrap: Callable[[list[str]], list[str]] = list,
) -> ProgramResult:
    """Ask and grade one benchmark; what ns finished before an interruption is not asked again.

    `wrap` puts a command into the environment of the role `nemo-skills`. Raises EvaluationError
    for each of ns's failures, silent ones included; ServerError when the server dies.
    """
    options = evaluation.nemo_skills
    argv = eval_command(
        benchmark,
        repeats,
        folder,
        model=server.model,
        address=server.base_url,
        engine=evaluation.server.engine,
        concurrency=evaluation.concurrency,
        sampling=evaluation.sampling,
        options=options,
    )
    if evaluation.max_items is not None:
        argv.append(f"++max_samples={evaluation.max_items}")
    environ = {k: v for k, v in os.environ.items() if k != "NEMO_SKILLS_CONFIG"}
    environ |= {KEY_VARIABLE: server.api_key}
    log, hidden, limit = folder / "ns.log", [server.api_key], options.timeout_hours * 3600
    run_program("ns", wrap(argv), environ, log, limit_s=limit, server=server, hidden=hidden)
    in_data = expected = _expected(benchmark, options, wrap)
    if expected is not None and evaluation.max_items is not None:
        expected = min(expected, evaluation.max_items)
    files = output_files(folder, benchmark, repeats, evaluation.sampling.seed)
    samples = read_answers(files, expected)
    if not (folder / "eval-results" / benchmark / "metrics.json").is_file():
        run_program(
            "ns", wrap(summarize_command(folder)), environ, log, limit_s=limit, hidden=hidden
        )
    items = len(samples[0])
    facts = {"command": shlex.join(argv), "items_in_data": in_data, "versions": _versions(wrap)}
    return ProgramResult(read_results(folder, benchmark, items), _as_ours(samples), items, facts)


def prepare_data(benchmark: str, folder: Path, wrap: Callable[[list[str]], list[str]]) -> int:
    """`ns prepare_data` of one benchmark; returns its number of items. `folder` is for the log.

    Raises EvaluationError when ns fails, or ends well without having written the data.
    """
    run_program(
        "ns",
        wrap(prepare_command(benchmark)),
        os.environ,
        folder / f"ns-{benchmark}.log",
        limit_s=7200,
    )
    count = _expected(benchmark, NemoSkillsSpec(), wrap)
    if not count:
        raise EvaluationError(
            f"`ns prepare_data {benchmark}` ended, but the installed nemo_skills has no "
            f"dataset/{benchmark}/test.jsonl; log: {folder / f'ns-{benchmark}.log'}"
        )
    return count


def _expected(
    benchmark: str, options: NemoSkillsSpec, wrap: Callable[[list[str]], list[str]]
) -> int | None:
    """Items that the prepared data has; None where they cannot be counted from here."""
    split = str(options.options.get("split", "test"))
    if options.data_dir:
        return count_items(Path(options.data_dir), benchmark, split)
    look = "import importlib.util as u; print(u.find_spec('nemo_skills').origin)"
    try:
        done = tethered(wrap(["python", "-c", look]))
    except CommandError:
        return None
    return count_items(Path(done.strip().splitlines()[-1]).parent / "dataset", benchmark, split)


_TELL_VERSIONS = """
import importlib.metadata as m, json
d = m.distribution("nemo-skills")
told = json.loads(d.read_text("direct_url.json") or "{}").get("vcs_info", {}).get("commit_id")
print(json.dumps({"nemo-skills": d.version, **({"nemo-skills commit": told} if told else {})}))
"""


def _versions(wrap: Callable[[list[str]], list[str]]) -> dict[str, str]:
    """Of the installed nemo_skills, and the commit that it was installed from; empty if unknown.

    Snapshots of one version grade differently.
    """
    try:
        told = json.loads(tethered(wrap(["python", "-c", _TELL_VERSIONS])).splitlines()[-1])
    except (CommandError, ValueError, IndexError):
        return {}
    return told if isinstance(told, dict) else {}


def _as_ours(samples: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Rows as the validity gates read them; ifeval's answers stand under `response`."""
    return [
        [{**row, "generation": row.get("generation", row.get("response", ""))} for row in rows]
        for rows in samples
    ]
