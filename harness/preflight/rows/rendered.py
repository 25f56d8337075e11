"""What rendering the rows showed, beside lengths: text that is added, fields that are left out."""

from __future__ import annotations

from pathlib import Path

from harness.chats.tokenizing import Answer
from harness.errors import ResultError
from harness.preflight.findings import Finding, error, note, warning
from harness.preflight.rows.contents import RowCheck
from harness.preflight.rows.shapes import TRIED
from harness.runs.models.embedding import embedding_rows

TEMPLATE, DATA, MODEL = "train.chat_template_path", "train.dataset_name", "train.model_name"
_LEFT_OUT = "Take a template that renders it, or leave the field out if it is not to be trained"


def rendered_findings(answer: Answer, data: RowCheck, model: str) -> list[Finding]:
    """Findings about the template and all rows together, and about the model's embedding."""
    return [
        *_system_findings(answer, data),
        *_unrendered_findings(answer, data),
        *_embedding_findings(answer, Path(model)),
        *_untried_findings(data),
    ]


def _system_findings(answer: Answer, data: RowCheck) -> list[Finding]:
    """A template without a system role takes data without system turns; another adds its own."""
    if not data.scans or not answer.has_template:
        return []
    rows = next(iter(data.scans.values())).rows
    if answer.system_problem:
        flaws = [scan.system for scan in data.scans.values() if scan.system.count]
        if not flaws:
            return [note(TEMPLATE, "knows no system turn; no row has one")]
        refused = answer.system_problem
        verb = refused if refused == "leaves it out" else f"refuses it: {refused}"
        text = f"{flaws[0]} have a system turn, and the template {verb}"
        return [error(TEMPLATE, text, "Take a template with a system role, or leave these out")]
    without = rows - data.system
    if not answer.added or without <= 0:
        return []
    text = (
        f"the template itself adds text to each of the {without:,} rows without a system turn: "
        f"{shortened(answer.added)!r}"
    )
    return [warning(TEMPLATE, text, "Intended? Else take another template, or give system turns")]


def shortened(text: str, most: int = 200) -> str:
    """A text for one line of a message."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _unrendered_findings(answer: Answer, data: RowCheck) -> list[Finding]:
    found = []
    for name in answer.unrendered:
        flaw = data.held.get(name)
        count = f"{flaw} hold a value in it" if flaw else "rows hold a value in it"
        found.append(warning(TEMPLATE, f"{name!r} is never rendered: {count}", _LEFT_OUT))
    return found


def _embedding_findings(answer: Answer, folder: Path) -> list[Finding]:
    """A token beyond the embedding ends training at its first step."""
    if answer.largest is None or not folder.is_dir():
        return []
    try:
        rows = embedding_rows(folder)
    except ResultError:
        return []  # said by the check of the model
    if rows is None or answer.largest.id < rows:
        return []
    text = (
        f"token {answer.largest.text!r} has the id {answer.largest.id}, but the embedding of "
        f"{folder} has {rows:,} rows: training would fail at its first step"
    )
    cure = "Resize the model: model.resize_token_embeddings(len(tokenizer)), and save both"
    return [error(MODEL, text, cure)]


def _untried_findings(data: RowCheck) -> list[Finding]:
    if not data.untried:
        return []
    more = f", and {data.shapes.uncounted:,} rows of further ones" if data.shapes.uncounted else ""
    text = (
        f"rows have {len(data.shapes):,} shapes (roles, calls, fields): one row of each of the "
        f"{TRIED} rarest was rendered, {data.untried:,} shapes{more} were tried by the sample alone"
    )
    return [note(DATA, text)]
