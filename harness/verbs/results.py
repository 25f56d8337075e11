"""What came of a run, or of answers saved elsewhere: collect, grade."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from harness.errors import UserError
from harness.verbs.common import load_site, runs_dir_of, say
from harness.verbs.options import AsJson, SetSite, SiteFile
from harness.verbs.screen import print_table


def collect(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[RUN|metrics.json]", help="A run (default the latest), or a metrics file."
        ),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option("--batch", metavar="DIR", help="Any tree of results: runs, checkpoints."),
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

    Metrics files and trees may be ours, NeMo-Skills', lm-eval's or lighteval's.

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
    is_file = target is not None and (
        Path(target).is_file() or (target.endswith(".json") and not Path(target).is_dir())
    )
    if model and not is_file:
        raise UserError("--model names the row of a single metrics file: give one")
    written: list[Path] = []
    if batch is not None:
        table = collect_tree(batch, say)
    elif is_file:
        path = Path(str(target))
        table = collect_file(path, model or path.resolve().parent.name)
    else:
        runs_dir = runs_dir_of(site, site_overrides)
        try:
            found = find_run(target, runs_dir) if target else latest_run(runs_dir)
        except UserError as error:
            if target is None or not Path(target).is_dir():
                raise
            cure = f"a folder of other results: python -m harness collect --batch {quote(target)}"
            raise UserError(f"{error}\n{cure}") from None
        table = collect_run(found)
        written = [found.results_csv, found.results_plot, found.train_plot]
    if output is not None:
        try:
            write_csv(output, table)
        except OSError as error:
            raise UserError.at(output, f"cannot be written: {error}") from None
        written = [output]
    print_table(table, written, as_json)
    raise typer.Exit(0 if table.is_complete else 1)


def grade(
    benchmark: Annotated[
        str, typer.Argument(metavar="BENCHMARK", help="As `prepare --list` names it.")
    ],
    answers: Annotated[
        list[Path],
        typer.Argument(
            metavar="ANSWERS.jsonl…",
            help="Rows with `id` and `response`, our own output files, or NeMo-Skills'; one file "
            "for each repeat.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="JSONL", help="Default: ANSWERS.graded.jsonl."),
    ] = None,
    allow_unsandboxed_code: Annotated[
        bool,
        typer.Option(
            "--allow-unsandboxed-code",
            help="Where there is no sandbox: only in throw-away containers.",
        ),
    ] = False,
    site: SiteFile = None,
    site_overrides: SetSite = None,
    as_json: AsJson = False,
) -> None:
    """Grade saved answers again, without a server: each row comes back with `grade`.

    The metrics go to <output>.metrics.json.

    Examples: python -m harness grade gsm8k answers.jsonl -o graded.jsonl
              python -m harness grade gsm8k output-rs0.jsonl output-rs1.jsonl
    """
    from harness.compute.evaluate.regrade.grade import Grading, benchmark_named, graded_path

    folder = Path(load_site(site, site_overrides).benchmarks_dir)
    chosen = benchmark_named(benchmark)
    if output is not None and len(answers) > 1:
        raise UserError("--output names one file: several get ANSWERS.graded.jsonl each")
    outputs = [output] if output else [graded_path(path) for path in answers]
    whole = [path.resolve() for path in answers]
    if twice := [p for p, file in zip(answers, whole, strict=True) if whole.count(file) > 1]:
        raise UserError(f"{twice[-1]}: given twice")
    if output is not None and output.resolve() == answers[0].resolve():
        raise UserError.at(output, "would overwrite the answers: name another file")
    try:
        done = Grading(chosen, answers, outputs, folder, allow_unsandboxed_code, say).run()
    except OSError as error:
        raise UserError(f"{outputs[0]}: cannot be written: {error}") from None
    for note in done.notes:
        say(f"note: {note}")
    if as_json:
        print(json.dumps(done.metrics, indent=2))
        return
    for aggregation, values in done.metrics[chosen.name].items():
        for metric, value in values.items():
            if isinstance(value, int | float):
                shown = f"{value:.2f}" if isinstance(value, float) else str(value)
                print(f"{aggregation + '/' + metric:44} {shown}")
    for path in (*done.outputs, done.metrics_file):
        print(path)
