"""A dataset of the Hub -> a folder that training reads, whole or not at all."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.data.convert import Outcome, described, write
from harness.data.pairs import Columns
from harness.data.reading.arrow import rows_of
from harness.data.reading.files import Row
from harness.data.reading.sources import Found, Source
from harness.data.replace import check_replaceable, put
from harness.data.shapes import is_shaped
from harness.errors import HarnessError, ResultError, UserError
from harness.runs.files import read_json, write_json

SOURCE = "harness_source.json"
"""Beside the dataset: where it came from."""
_BATCH = 256
Report = Callable[[str], None]


def get(
    name: str, target: Path, *, subset: str | None, split: str | None, revision: str | None,
    force: bool, report: Report, skip_bad: bool = False, as_is: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Download a dataset and write it with `save_to_disk`; returns what there is then.

    Chats of any usual shape are converted to `messages` (unless `as_is`); of bad rows it is a
    UserError (unless `skip_bad`). What holds no chats at all is kept as it is, and that is said.

    Files that came whole before an interruption are kept in the Hub's cache and not fetched again. A
    target that holds the same dataset already is left as it is. Raises UserError when the Hub does
    not have it, does not give it, or cannot be reached, and for a target that holds another one.
    """
    asked: dict[str, Any] = {"name": name, "subset": subset, "split": split, "revision": revision}
    if skip_bad or as_is:
        asked |= {"skip_bad": skip_bad, "as_is": as_is}
    known = _known(target)
    if known is not None and not force:
        # A named revision is what it is; without one the newest may have changed since.
        if known.get("asked") == asked:
            report(f"{target}: holds {name} already ({known['sha'][:12]}); --force fetches again")
            return known
        raise UserError.at(
            target, f"holds something else: {known.get('asked')}; choose another folder"
        )
    if target.is_dir() and known is None and any(target.iterdir()) and not force:
        raise UserError.at(target, "exists already and is not from here; choose another folder")
    check_replaceable(target)
    sha = _sha(name, revision)
    report(f"{name} at {sha[:12]}")
    loaded = _load(name, subset, split, sha)
    partial = target.parent / f".{target.name}.{os.getpid()}.partial"
    try:
        outcome, made = _written(loaded, partial, name, skip_bad, as_is, report)
        size = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
        facts = {"asked": asked, "sha": sha, **_describe(_read(made)), "bytes": size}
        if outcome is not None:
            facts["converted"] = outcome.facts() | {"first": None}
        write_json(made / SOURCE, facts)
        put(made, target)
    except OSError as error:
        raise UserError.at(target, f"cannot be written: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return facts


def _written(
    loaded: Any, partial: Path, name: str, skip_bad: bool, as_is: bool, report: Report
) -> tuple[Outcome | None, Path]:
    """What was converted (None: nothing), and the folder of the dataset within `partial`."""
    from datasets import DatasetDict

    splits = loaded if isinstance(loaded, DatasetDict) else {None: loaded}
    unlike = [rows.column_names for rows in splits.values() if not is_shaped(rows.column_names)]
    if unlike and not as_is:
        report(f"{name}: no chats (columns {', '.join(unlike[0])}): kept as it is")
    if unlike or as_is:
        loaded.save_to_disk(partial / "dataset")
        return None, partial / "dataset"
    sources = tuple(
        Source(split or name, split, functools.partial(_rows, rows), named=split is not None)
        for split, rows in splits.items()
    )
    outcome, made = write(Found(sources, ()), partial, name, skip_bad, Columns(), report)
    for line in described(outcome, name):
        report(line)
    return outcome, made


def _rows(loaded: Any) -> Iterator[Row]:
    number = 0
    for table in loaded.with_format("arrow").iter(batch_size=_BATCH):
        for row in rows_of(table):
            number += 1
            yield f"row {number}", row


def _read(folder: Path) -> Any:
    import datasets

    return datasets.load_from_disk(str(folder))


def _known(target: Path) -> dict[str, Any] | None:
    try:
        found = read_json(target / SOURCE)
    except ResultError:
        return None
    return found if isinstance(found, dict) else None


def _sha(name: str, revision: str | None) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return str(HfApi().dataset_info(name, revision=revision).sha)
    except GatedRepoError:
        raise UserError.at(
            name, "gated: accept its terms on the Hub, and export HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise UserError.at(
            name, "the Hub has no such dataset, or HF_TOKEN may not see it; an id is OWNER/NAME"
        ) from None
    except RevisionNotFoundError:
        raise UserError.at(name, f"no revision {revision!r}") from None
    except OfflineModeIsEnabled:
        raise UserError("HF_HUB_OFFLINE is set: unset it, where there is internet") from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError.at(name, f"the Hub cannot be asked: {error}") from None
    except Exception as error:
        if _of_the_network(error):
            raise UserError.at(name, f"the Hub cannot be reached: {error}") from None
        raise


def _of_the_network(error: BaseException) -> bool:
    """Whether an HTTP client raised it; which one huggingface_hub uses changes with its version."""
    return type(error).__module__.startswith(("httpx", "httpcore", "requests"))


def _load(name: str, subset: str | None, split: str | None, sha: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(name, subset, split=split, revision=sha)
    except (ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise UserError.at(name, str(error)) from None
    except Exception as error:
        cause = error.__cause__ or error
        known = (OSError, datasets.exceptions.DatasetGenerationError)
        if not isinstance(error, known) and not _of_the_network(error):
            raise
        raise HarnessError(
            f"{name}: the download broke off: {cause}\nWhat came is kept: the same command goes on."
        ) from None


def _describe(loaded: Any) -> dict[str, Any]:
    from datasets import DatasetDict

    splits = loaded if isinstance(loaded, DatasetDict) else {"": loaded}
    return {
        "rows": {name or "all": len(rows) for name, rows in splits.items()},
        "columns": next(iter(splits.values())).column_names,
    }
