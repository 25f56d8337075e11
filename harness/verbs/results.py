"""What came of a run: collect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UserError
from harness.options import AsJson, SetSite, SiteFile
from harness.screen import print_table
from harness.verbs.common import runs_dir_of


def collect(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|metrics.json]", help="A run (default the latest), or a metrics file."
        ),
    ] = None,
    batch: Annotated[
        Path | None, typer.Option("--batch", metavar="DIR", help="Any tree of checkpoint folders.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="CSV", help="Where to write the CSV.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Name of the row, for a single metrics file.")
    ] = None,
    site: SiteFile = None,
    site_overrides: SetSite = None,
    as_json: AsJson = False,
) -> None:
    """One table: a row per checkpoint, every planned cell accounted for; exit code 1 if any is not ok.

    Examples: python -m harness collect
              python -m harness collect --batch eval_tree/ -o combined.csv
              python -m harness collect metrics.json -o out.csv --model my-model
    """
    from harness.results.collect import collect_file, collect_run, latest_run
    from harness.results.table import write_csv
    from harness.results.tree import collect_tree
    from harness.runs.paths import find_run

    if batch is not None and target is not None:
        raise UserError("give either a run (or metrics file) or --batch DIR, not both")
    is_file = target is not None and target.endswith(".json")
    if model and not is_file:
        raise UserError("--model names the row of a single metrics file: give one")
    written: list[Path] = []
    if batch is not None:
        table = collect_tree(batch)
    elif is_file:
        path = Path(str(target))
        table = collect_file(path, model or path.resolve().parent.name)
    else:
        runs_dir = runs_dir_of(site, site_overrides)
        found = find_run(target, runs_dir) if target else latest_run(runs_dir)
        table = collect_run(found)
        written = [found.results_csv, found.results_plot, found.train_plot]
    if output is not None:
        try:
            write_csv(output, table)
        except OSError as error:
            raise UserError(f"{output}: cannot be written: {error}") from None
        written = [output]
    print_table(table, written, as_json)
    raise typer.Exit(0 if table.is_complete else 1)
