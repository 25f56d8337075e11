"""What a dataset holds, and what of it a template trains: `data inspect`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.chats.dataset import SavedDataset, choose_columns, read_saved_dataset
from harness.config.base import Frozen
from harness.config.load import build, expand, expand_template
from harness.config.reading.source import Key
from harness.config.training.train import TrainSpec
from harness.errors import CommandError, UserError
from harness.package import needs
from harness.preflight.findings import Finding, note
from harness.preflight.rows.contents import RowCheck, check_rows, is_text
from harness.preflight.rows.dataset import check_dataset
from harness.preflight.rows.rendered import rendered_findings
from harness.preflight.rows.template import check_template
from harness.preflight.rows.tokens import (
    Unavailable,
    ask,
    request_for,
    sample_findings,
    sample_rows,
    split_rows,
    template_findings,
)
from harness.preflight.stages import Stages
from harness.runs.models.folder import find_model

_TURNS_SHOWN = 12


class ShownRow(Frozen):
    """A row as the tokenizer sees it."""

    number: int
    spans: tuple[tuple[str, bool], ...]
    """Stretches of text, and whether they are trained."""


class Inspection(Frozen):
    """What a dataset holds."""

    folder: str
    rows: int
    columns: tuple[str, ...]
    roles: dict[str, dict[str, int]] = {}
    """Messages by role, by column."""
    turns: dict[str, dict[int, int]] = {}
    """Rows by number of messages, by column; long ones together under the largest number shown."""
    sampled: int = 0
    """Rows that were tokenised."""
    percentiles: dict[str, int] = {}
    """Tokens of a row: p50, p90, p95, p99, max."""
    share_cut: float | None = None
    """Of sampled rows, longer than `max_length`."""
    share_masked: float | None = None
    """Of sampled rows, without a trained token within `max_length`."""
    share_trained: float | None = None
    """Of sampled tokens within `max_length`, those that are trained."""
    shown: tuple[ShownRow, ...] = ()
    findings: tuple[Finding, ...] = ()


_OPTIONS: dict[Key, str] = {
    ("model_name",): "--model",
    ("dataset_name",): "DIR",
    ("dataset_split",): "--split",
    ("chat_template_path",): "--template",
    ("max_length",): "--max-length",
    ("seed",): "--seed",
}


def inspect_dataset(
    folder: Path, template: Path | None, model: str | None, max_length: int, show: int,
    split: str, seed: int, report: Callable[[str], object] | None = None,
) -> Inspection:  # fmt: skip
    """Look at all rows, and with a tokenizer at a sample. Raises UserError for wrong input."""
    given = {
        "model_name": "(none)" if model is None else model,
        "dataset_name": str(expand(str(folder), "DIR")),
        "dataset_split": split,
        "chat_template_path": expand_template(str(template), "--template") if template else None,
        "max_length": max_length,
        "seed": seed,
    }
    given["assistant_only_loss"] = not _is_plain(Path(str(given["dataset_name"])), split)
    train = build(TrainSpec, given, _OPTIONS)
    with Stages(report) as progress:
        progress.stage(f"the rows of {folder}")
        dataset, findings = check_dataset(train)
        if dataset is None:
            raise UserError(f"{findings[0].message}\n{findings[0].cure}".strip())
        data = check_rows(train, dataset)
        seen: dict[str, Any] = {
            "folder": str(dataset.folder), "rows": dataset.rows, "columns": dataset.columns,
            "roles": {c: dict(scan.roles.most_common()) for c, scan in data.scans.items()},
            "turns": {c: _grouped(dict(scan.turns)) for c, scan in data.scans.items()},
        }  # fmt: skip
        findings += data.findings
        if model is None:
            if template:
                findings += check_template(train.chat_template_path, train.assistant_only_loss)
            text = "lengths and masks need a tokenizer: give --model FOLDER"
            return Inspection(**seen, findings=(*findings, note("--model", text)))
        progress.stage("a sample of rows, by the tokenizer")
        found, more = _tokenised(train, model, dataset, data, show)
    return Inspection(**seen, **found, findings=(*findings, *more))


def _is_plain(folder: Path, split: str) -> bool:
    """Prompts and completions that are texts: there is no assistant whose tokens could be told."""
    try:
        dataset = read_saved_dataset(folder, split)
    except UserError:
        return False  # said by the check of the dataset
    columns = choose_columns(dataset.columns).trained
    schema = next((batch.schema for batch in dataset.batches(columns)), None)
    if "prompt" not in columns or schema is None:
        return False
    return all(is_text(schema.field(column).type) for column in columns)


def _tokenised(
    train: TrainSpec, model: str, dataset: SavedDataset, data: RowCheck, show: int
) -> tuple[dict[str, Any], list[Finding]]:  # fmt: skip
    folder = find_model(model)
    static = check_template(train.chat_template_path, train.assistant_only_loss, folder)
    if static and (train.assistant_only_loss or train.chat_template_path):
        return {}, static
    path = train.chat_template_path
    text = Path(path).read_text(encoding="utf-8") if path else None
    name = str(folder or model)
    suspects, rows = sample_rows(dataset, data, train.seed)
    tried = (*suspects.values(), *rows.values())
    request = request_for(train, name, text, tried, data.unknown_roles, len(suspects) + show)
    try:
        answer = ask(request)
    except Unavailable as problem:
        raise UserError(f"--model: {problem}: {needs('train')}, or transformers alone") from None
    except CommandError as problem:
        last = (problem.stderr.strip() or "no answer in time").splitlines()[-1]
        raise UserError(f"--model: the tokenizer of {model} fails: {last}") from None
    findings = template_findings(train, answer, name)
    if not answer.probe_problem:
        findings += rendered_findings(answer, data, name)
    sample, more = split_rows(list(suspects), list(rows), answer.rows, dataset.rows)
    findings += more
    if not rows or any(f.level == "error" for f in findings):
        return {}, findings
    if not sample.good:
        return {}, sample_findings(train, sample)
    kept = sum(min(row.length, train.max_length) for row in sample.good)
    good = [n for n, row in zip((*suspects, *rows), answer.rows, strict=False) if not row.problem]
    shares = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    return {
        "sampled": len(sample.good),
        "percentiles": {name: sample.percentile(share) for name, share in shares.items()}
        | {"max": max(sample.lengths)},
        "share_cut": sample.share_cut(train.max_length),
        "share_masked": sample.share_masked(),
        "share_trained": sum(row.trained for row in sample.good) / max(kept, 1),
        "shown": [
            ShownRow(number=number, spans=spans)
            for number, spans in list(zip(good, answer.shown, strict=False))[:show]
        ],
    }, findings + sample_findings(train, sample)


def _grouped(turns: dict[int, int]) -> dict[int, int]:
    """Rows by number of messages, with the rare long ones counted under the last number."""
    ordered = sorted(turns.items())
    if len(ordered) <= _TURNS_SHOWN:
        return dict(ordered)
    last = ordered[_TURNS_SHOWN - 1][0]
    head = dict(ordered[: _TURNS_SHOWN - 1])
    return head | {last: sum(count for n, count in ordered if n >= last)}
