"""A dataset of the Hub -> a folder that training reads, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.data.replace import check_replaceable, put
from harness.errors import HarnessError, ResultError, UserError
from harness.runs.files import read_json, write_json

SOURCE = "harness_source.json"
"""Beside the dataset: where it came from."""
Report = Callable[[str], None]


def get(
    name: str, target: Path, *, subset: str | None, split: str | None, revision: str | None,
    force: bool, report: Report,
) -> dict[str, Any]:  # fmt: skip
    """Download a dataset and write it with `save_to_disk`; returns what there is then.

    Files that came whole before an interruption are kept in the Hub's cache and not fetched again. A
    target that holds the same dataset already is left as it is. Raises UserError when the Hub does
    not have it, does not give it, or cannot be reached, and for a target that holds another one.
    """
    asked = {"name": name, "subset": subset, "split": split, "revision": revision}
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
        loaded.save_to_disk(partial)
        size = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
        facts = {"asked": asked, "sha": sha, **_describe(loaded), "bytes": size}
        write_json(partial / SOURCE, facts)
        put(partial, target)
    except OSError as error:
        raise UserError.at(target, f"cannot be written: {error}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return facts


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
