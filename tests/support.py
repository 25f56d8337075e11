"""Helpers that several tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""


def shared_data() -> Path | None:
    """The folder of real benchmark data, or None where this machine has none.

    $HARNESS_SHARED_DATA, else `../shared/data` beside the repository.
    """
    default = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get("HARNESS_SHARED_DATA") or default)
    return folder if folder.is_dir() else None


def harness(
    *argv: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *argv],
        cwd=cwd, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
