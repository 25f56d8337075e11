"""The split whose loss is measured beside training: it is there, and its rows are as good."""

from __future__ import annotations

from pathlib import Path

from harness.chats.dataset import SavedDataset
from harness.chats.drawing import held_out
from harness.config.training.train import TrainSpec
from harness.errors import UserError
from harness.preflight.findings import Finding, error
from harness.preflight.rows.contents import check_rows
from harness.preflight.rows.dataset import check_dataset
from harness.preflight.rows.tokens import check_tokens

PLACE = "train.eval_split"


def check_validation(
    train: TrainSpec, model: str | None, known: list[Finding]
) -> tuple[int | None, list[Finding]]:
    """Rows of `train.eval_split` (None: unreadable, or not set), and what is wrong with them.

    They go through the checks of the rows that are trained; `model` (a folder or an id) is None
    where the template is known to be wrong. What `known` says already is not said again.
    """
    if train.eval_split is None:
        return None, []
    views, wrong = _views(train)
    if wrong is not None:
        return None, [
            error(PLACE, wrong, "Save a DatasetDict that has it, or leave eval_split out")
        ]
    datasets, found = [], []
    for view in views:
        dataset, more = _checked(view, model)
        datasets.append(dataset)
        if not isinstance(train.dataset_name, str):
            more = [_named(f, str(view.dataset_name)) for f in more]
        found += [f for f in more if f not in found]
    said = {(f.message, f.cure) for f in known}
    new = [f for f in found if (f.message, f.cure) not in said]
    placed = [_placed(f) for f in new]
    known_rows = [dataset.rows for dataset in datasets if dataset is not None]
    return (sum(known_rows) if len(known_rows) == len(datasets) else None), placed


def _views(train: TrainSpec) -> tuple[list[TrainSpec], str | None]:
    """The spec as if each set that has the split were trained on it; or why none has."""
    other = {"dataset_split": train.eval_split}
    if isinstance(train.dataset_name, str):
        if Path(train.dataset_name).is_dir() and not _is_dict(Path(train.dataset_name)):
            return (
                [],
                f"{train.dataset_name}: holds one set without splits, so no {train.eval_split!r}",
            )
        return [train.model_copy(update=other)], None
    try:
        sources = held_out(train.sources, str(train.eval_split))
    except UserError as problem:
        return [], str(problem)
    return [train.model_copy(update={**other, "dataset_name": s.path}) for s in sources], None


def _checked(view: TrainSpec, model: str | None) -> tuple[SavedDataset | None, list[Finding]]:
    dataset, found = check_dataset(view)
    if dataset is not None:
        data = check_rows(view, dataset)
        found += data.findings
        if model is not None and not any(f.level == "error" for f in found):
            found += check_tokens(view, model, dataset, data)[1]
    return dataset, found


def _named(finding: Finding, folder: str) -> Finding:
    """A finding about the rows of one set among several says of which."""
    if finding.place != "train.dataset_name":
        return finding
    return finding.model_copy(update={"message": f"{folder}: {finding.message}"})


def _placed(finding: Finding) -> Finding:
    """A finding about the template stays where it is; the others are of this field."""
    if finding.place != "train.dataset_name":
        return finding
    text = finding.message.replace("train.dataset_split", PLACE)
    return finding.model_copy(update={"place": PLACE, "message": text})


def _is_dict(folder: Path) -> bool:
    return (folder / "dataset_dict.json").is_file()
