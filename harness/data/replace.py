"""A new dataset in the place of an old one, and of nothing else."""

from __future__ import annotations

import errno
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
    """Rename `new` to `target`; what was there goes after it. Raises UserError, OSError.

    Of several processes that do so at once the last one's stays, and nothing else.
    """
    old = target.parent / f".{target.name}.{os.getpid()}.old"
    while True:
        check_replaceable(target)
        shutil.rmtree(old, ignore_errors=True)  # of a process of this id that was killed
        aside = _set_aside(target, old)
        try:
            os.rename(new, target)
            break
        except OSError as error:
            # Where another process was faster, what it put there is the old one now.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                if aside:
                    os.rename(old, target)
                raise
    shutil.rmtree(old, ignore_errors=True)


def _set_aside(target: Path, old: Path) -> bool:
    try:
        os.rename(target, old)
    except FileNotFoundError:
        return False
    return True
