"""Where the function that submitit pickles lay until version 0.1: jobs queued then name it still.

Such a job ends with a message, and is submitted again by `retry`.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError


def run_job(run_dir: str, job: str, task: int = 0) -> str:
    """Raises HarnessError, with the command that submits the job again."""
    raise HarnessError(
        f"{job} was queued by an earlier version of this package, whose jobs this one cannot run: "
        f"when the run's jobs have ended, `python -m harness retry {Path(run_dir).name}` submits "
        "what is not ok again"
    )
