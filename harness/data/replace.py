"""A new dataset in the place of an old one, and of nothing else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness.errors import UserError

_MARKS = ("dataset_info.json", "dataset_dict.json")


def check_replaceable(target: Path) -> None:
    """Raise UserError where there is anything but a saved dataset or an empty folder."""
    if not target.exists() and not target.is_symlink():
        return
    if target.is_symlink() or not target.is_dir():
        raise UserError.at(target, "is no folder; choose another place")
    if any((target / mark).is_file() for mark in _MARKS) or not any(target.iterdir()):
        return
    raise UserError.at(
        target, "holds no saved dataset, so it is not replaced; choose another folder"
    )


def put(new: Path, target: Path) -> None:
    """Rename `new` to `target`; what was there goes after it. Raises UserError, OSError."""
    check_replaceable(target)
    old = target.parent / f".{target.name}.{os.getpid()}.old"
    replacing = target.exists()
    if replacing:
        os.rename(target, old)
    try:
        os.rename(new, target)
    except OSError:
        if replacing:
            os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
