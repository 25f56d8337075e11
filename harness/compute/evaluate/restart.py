"""Every answer of a task's cells, from a server that is started again when it dies or hangs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from harness.compute.evaluate.cell import CellWork
from harness.compute.serve.request import ServeRequest
from harness.compute.serve.server import RunningServer, serve, watch
from harness.errors import EvaluationError, ServerError


def generate_all(works: Sequence[CellWork], request: ServeRequest, restarts: int) -> None:
    """Generate cell after cell; a server that fails while in use is replaced `restarts` times.

    Answers that came before are on disk and are not asked again; what was under way is. Raises
    ServerError when a server does not become ready (another would not either), or fails once more
    than `restarts` allows.
    """
    left = list(works)
    started_again = 0
    while left:
        was_ready = False
        try:
            with (
                serve(request) as server,
                watch(server, on_failure=lambda error: print(error, file=sys.stderr, flush=True)),
            ):
                was_ready = True
                while left:
                    _generate(left[0], server)
                    del left[0]
        except ServerError as error:
            if not was_ready or not left:
                raise
            if started_again >= restarts:
                again = f" (started again {started_again} of {restarts} times)"
                first, newline, rest = str(error).partition("\n")
                error.args = (f"{first.rstrip(':')}{again}{newline}{rest}",)
                raise
            started_again += 1
            left[0].note_restart()
            print(
                f"{left[0].cell.benchmark}: the server failed; starting it again "
                f"({started_again} of {restarts})",
                flush=True,
            )


def _generate(work: CellWork, server: RunningServer) -> None:
    """One cell. Errors of a server that is dying are the server's, not the answers'."""
    try:
        work.generate(server)
    except EvaluationError:
        server.raise_if_sick()
        raise
    if work.evaluator.failed_requests:
        server.raise_if_sick()
