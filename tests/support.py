"""Helpers that several tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def shared_data() -> Path | None:
    """The folder of real benchmark data, or None where this machine has none.

    $HARNESS_SHARED_DATA, else `../shared/data` beside the repository.
    """
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HARNESS_SHARED_DATA") or default)
    return folder if folder.is_dir() else None


def harness(
    *argv: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    root = Path(__file__).resolve().parents[1]
    return subprocess.run(
        [sys.executable, "-m", "harness", *argv],
        cwd=cwd, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
    )  # fmt: skip
