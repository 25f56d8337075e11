"""Helpers that several tests share."""

from __future__ import annotations

import os
from pathlib import Path


def shared_data() -> Path | None:
    """The folder of real benchmark data, or None where this machine has none.

    $HARNESS_SHARED_DATA, else `../shared/data` beside the repository.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HARNESS_SHARED_DATA") or default)
    return folder if folder.is_dir() else None
