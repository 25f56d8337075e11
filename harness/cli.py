"""The words of the user -> verbs; how each ends as an exit code."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import typer

from harness.errors import HarnessError, printable
from harness.package import missing
from harness.verbs import data, evaluate, results, runs
from harness.verbs.options import help_of
from harness.verbs.serve import serve

app = typer.Typer(
    name="harness",
    help=help_of(
        """Train on Slurm, evaluate every checkpoint, collect one table that can be trusted.

        Example: python -m harness submit sft.yaml --dry-run
        """
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


for verb in (
    runs.submit,
    runs.check,
    runs.status,
    results.collect,
    results.grade,
    runs.retry,
    runs.cancel,
    serve,
    data.prepare,
):
    app.command(help=help_of(verb.__doc__))(verb)
app.command("eval", help=help_of(evaluate.evaluate.__doc__))(evaluate.evaluate)
app.add_typer(data.data_app, name="data")


def main() -> None:
    """Entry point: exit codes 0 ok, 1 failed or incomplete, 2 the user's mistake."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file's name may hold what no screen can show
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except HarnessError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except ModuleNotFoundError as error:
        if (text := missing(error)) is None:
            raise
        print(f"error: {printable(text)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; jobs that were submitted go on", file=sys.stderr)
        raise SystemExit(130) from None
