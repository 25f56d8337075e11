"""Any tree of checkpoint folders, ours or what `ns eval` wrote -> one table.

A checkpoint folder is named `checkpoint-<step>` (or `base`) and holds metrics: each benchmark's in
`<benchmark>/metrics.json`, all in one in `metrics.json`, both directly or in `eval-results/`.
Layout of NeMo-Skills 0.7.0: `eval-results/<benchmark>/output*.jsonl`, each with an empty `.done`.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import ResultError, UserError
from harness.results.table import Problem, Row, Table
from harness.runs.metrics import Metrics, read_metrics
from harness.runs.paths import checkpoint_step


def collect_tree(folder: Path) -> Table:
    """One row per checkpoint folder below `folder`, in order of run and step.

    Not ok are: an unreadable file, an output without its mark, a benchmark that only other
    checkpoints have, files that contradict each other, checkpoints that differ in items.
    Raises UserError when there is no checkpoint folder with metrics.
    """
    if not folder.is_dir():
        raise UserError.at(folder, "no such folder")
    rows, problems = [], []
    for path in sorted(p for p in (folder, *folder.rglob("*")) if _is_checkpoint(p)):
        metrics, found = _read_checkpoint(path)
        problems += found
        run = path.resolve().parent.name
        rows.append(Row.of(run, path.name, checkpoint_step(path.name), metrics))
    if not rows:
        raise UserError.at(
            folder, "no checkpoint-<step>/ with metrics.json (or eval-results/) below it"
        )
    rows.sort(key=lambda row: (row.run, row.step or 0))
    known = {(p.checkpoint, p.benchmark) for p in problems}
    problems += [p for p in _gaps(rows) if (p.checkpoint, p.benchmark) not in known]
    return Table(tuple(rows), tuple(problems))


def _root(checkpoint: Path) -> Path:
    inner = checkpoint / "eval-results"
    return inner if inner.is_dir() else checkpoint


def _is_checkpoint(path: Path) -> bool:
    if not path.is_dir() or checkpoint_step(path.name) is None:
        return False
    root = _root(path)
    return (root / "metrics.json").is_file() or any(root.glob("*/metrics.json"))


def _read_checkpoint(checkpoint: Path) -> tuple[Metrics, list[Problem]]:
    """Each benchmark's own file counts; the combined one fills in and must not contradict it."""
    root = _root(checkpoint)
    own: Metrics = {}
    problems = []

    def read(path: Path, benchmark: str) -> Metrics:
        try:
            return read_metrics(path)
        except ResultError as error:
            problems.append(Problem(checkpoint.name, benchmark, "invalid", str(error), str(path)))
            return {}

    for path in sorted(root.glob("*/metrics.json")):
        own |= read(path, path.parent.name)
    whole = root / "metrics.json"
    combined = read(whole, "(all)") if whole.is_file() else {}
    for benchmark in own.keys() & combined.keys():
        if combined[benchmark] != own[benchmark]:
            reason = f"its own metrics.json differs from {whole}; its own is taken"
            problems.append(Problem(checkpoint.name, benchmark, "stale", reason))
    for output in sorted(root.glob("*/output*.jsonl")):
        # Only ns marks outputs; our own cells have a task.json instead.
        marked = output.with_name(f"{output.name}.done").exists()
        if not marked and not (output.parent / "task.json").exists():
            reason = f"{output.name} has no .done mark: it was not finished"
            problems.append(Problem(checkpoint.name, output.parent.name, "invalid", reason))
    return {**combined, **own}, problems


def _gaps(rows: list[Row]) -> list[Problem]:
    """Benchmarks that only some checkpoints have, and benchmarks whose number of items differs."""
    benchmarks = [list(dict.fromkeys(name.split("/")[0] for name in row.values)) for row in rows]
    problems = []
    for benchmark in dict.fromkeys(name for names in benchmarks for name in names):
        sizes = set()
        for row, names in zip(rows, benchmarks, strict=True):
            if benchmark in names:
                sizes.add(row.values.get(f"{benchmark}/pass@1/num_entries"))
            else:
                reason = "other checkpoints have this benchmark"
                problems.append(Problem(row.checkpoint, benchmark, "missing", reason))
        if len(sizes) > 1:
            reason = f"num_entries differ: {', '.join(sorted(map(str, sizes)))}"
            problems.append(Problem("(all)", benchmark, "invalid", reason))
    return problems
