"""A dataset saved by `save_to_disk`, read without the datasets library.

Format (datasets 5.2): a Dataset folder holds state.json, which lists its Arrow stream files under
`_data_files`, and dataset_info.json with the columns under `features`; a DatasetDict folder holds
dataset_dict.json with `splits`, and one Dataset folder for each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.config.train import TrainSpec
from harness.errors import ResultError, UserError, nearest
from harness.preflight.findings import Finding, error
from harness.runs.files import read_json

CURE = (
    "Save it where all nodes see it: "
    "python -c \"import datasets; datasets.load_dataset('ID').save_to_disk('FOLDER')\""
)


@dataclass(frozen=True)
class SavedDataset:
    """One split of a saved dataset."""

    folder: Path
    rows: int
    columns: tuple[str, ...]


def read_saved_dataset(folder: Path, split: str) -> SavedDataset:
    """Rows and columns of a saved split. Raises UserError when it is not one or is damaged."""
    if not folder.is_dir():
        looks_like_id = folder.parent != folder and not folder.parent.is_dir()
        hint = " (a dataset's Hub id is not taken here)" if looks_like_id else ""
        raise UserError(f"{folder}: no such folder{hint}\n{CURE}")
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = read_json(folder / "dataset_dict.json").get("splits", [])
            if split not in splits:
                raise UserError(
                    f"{folder}: has no split {split!r}{nearest(split, splits)}; "
                    f"it has {', '.join(splits)}: set train.dataset_split"
                )
            folder = folder / split
        state = read_json(folder / "state.json")
        columns = tuple(read_json(folder / "dataset_info.json").get("features") or {})
    except (ResultError, AttributeError) as error:
        raise UserError(f"{folder}: not a dataset saved by save_to_disk: {error}\n{CURE}") from None
    files = [folder / str(entry["filename"]) for entry in state.get("_data_files", [])]
    return SavedDataset(folder, sum(_rows(file) for file in files), columns)


def _rows(file: Path) -> int:
    import pyarrow as pa  # type: ignore[import-untyped]

    try:
        with pa.memory_map(str(file)) as source:
            return sum(batch.num_rows for batch in pa.ipc.open_stream(source))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file}: the dataset is damaged: {error}") from None


def check_dataset(train: TrainSpec) -> tuple[int | None, list[Finding]]:
    """Rows of the training split (None: unreadable), and findings about `train.dataset_name`."""
    place = "train.dataset_name"
    try:
        dataset = read_saved_dataset(Path(train.dataset_name), train.dataset_split)
    except UserError as problem:
        message, _, cure = str(problem).partition("\n")
        return None, [error(place, message, cure)]
    findings = []
    if dataset.rows == 0:
        findings.append(error(place, f"{dataset.folder}: has no rows"))
    if "messages" not in dataset.columns and not ({"prompt", "completion"} <= set(dataset.columns)):
        findings.append(
            error(
                place,
                f"{dataset.folder}: columns are {', '.join(dataset.columns)}; "
                "`messages` (or `prompt` and `completion`) is expected",
            )
        )
    return dataset.rows, findings
