"""Whether the writer of a folder of checkpoints lives, or comes back when Slurm requeues its job."""

from __future__ import annotations

import os

from harness.errors import SchedulerError
from harness.runs.lease import Writer, lives
from harness.scheduling.schedulers.slurm import SlurmScheduler, is_available


def is_writing(writer: Writer) -> bool | None:
    """Whether it writes, or will go on; None where neither this machine nor Slurm can tell."""
    here = os.environ.get("SLURM_CLUSTER_NAME", writer.cluster)
    if not writer.job_id or writer.cluster != here or not is_available():
        return lives(writer)
    try:
        state = SlurmScheduler().states([writer.job_id])[writer.job_id]
    except SchedulerError:
        return lives(writer)
    if state.phase == "running":
        return lives(writer) is not False
    if state.phase == "unknown":
        # Out of the queue: it has ended, if this is its cluster. A login node does not say which.
        return False if "SLURM_CLUSTER_NAME" in os.environ else lives(writer)
    return not state.ended
