"""What ends a task early is written into its cells, so that the table says why they have no result."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from harness.compute.evaluate.cell import CellWork
from harness.errors import EvaluationError, one_line
from harness.plan.plan import Cell
from harness.runs.metrics import read_task, record_failed, write_task
from harness.runs.paths import CellPaths, RunPaths

_TOLD_TO_STOP = 128 + signal.SIGTERM


def stop_on_term() -> None:
    """Let SIGTERM end this process as an exception does, so that everything is cleaned up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TOLD_TO_STOP))


@contextmanager
def told_in_cells(
    run: RunPaths, cells: Sequence[Cell], log: str, works: Sequence[CellWork]
) -> Iterator[None]:
    """Write down what ends the work inside, in each of these cells that has no result; raise it.

    `works` may be filled meanwhile: a cell that is not among them yet is known by its place alone.
    """
    try:
        yield
    except BaseException as error:
        if (reason := _reason(error)) is not None:
            known = {work.cell: work for work in works}
            for cell in cells:
                with suppress(Exception):  # one that cannot be written costs no other its reason
                    if cell in known:
                        known[cell].fail(reason)
                    else:
                        record_failed(
                            run.cell(cell.checkpoint, cell.benchmark), one_line(reason), log
                        )
        raise


def go_on(cell: CellPaths) -> None:
    """A job that was stopped goes on: what was written down of its end is no longer so."""
    record = read_task(cell)
    if record is not None and record.state == "failed":
        again = {"state": "running", "reason": "", "ended": ""}
        write_task(cell, record.model_copy(update=again))


def _reason(error: BaseException) -> BaseException | None:
    """The error as the table is to tell it; None: this is no end, the job goes on (submitit's
    requeue leaves by SystemExit, too)."""
    if isinstance(error, KeyboardInterrupt):
        return EvaluationError("its task was interrupted")
    if not isinstance(error, SystemExit):
        return error
    if error.code != _TOLD_TO_STOP:
        return None
    return EvaluationError(
        "its task was told to stop (SIGTERM): cancelled, preempted or out of time"
    )
