"""The words of the user. The only place that prints to the user and the only exit code.

Each verb imports what it needs, so that `--help` starts fast.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import HarnessError, UserError
from harness.options import AsJson, Poll, RunWord, Set, SetSite, SiteFile, SpecFile, Wait
from harness.screen import count_levels, print_dry_run, print_status, print_table, status_json

if TYPE_CHECKING:
    from harness.config.site import Site
    from harness.preflight.findings import Finding
    from harness.scheduling.submit import Staged

app = typer.Typer(
    name="harness",
    help="Train on Slurm, evaluate every checkpoint, collect one table that can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def submit(
    spec: SpecFile,
    overrides: Set = None,
    site: SiteFile = None,
    site_overrides: SetSite = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show plan and scripts; touch nothing.")
    ] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Submit in spite of errors found.")
    ] = False,
    wait: Wait = False,
    poll: Poll = None,
    as_json: AsJson = False,
) -> None:
    """Submit a run: training, one evaluation array per checkpoint, the table.

    Example: python -m harness submit sft.yaml --set train.max_steps=1000 --dry-run
    """
    from harness.scheduling.submit import submit as submit_staged

    staged, findings = _stage(spec, overrides, site, site_overrides)
    errors = [f for f in findings if f.level == "error"]
    if dry_run:
        print_dry_run(staged, findings, as_json)
        raise typer.Exit(2 if errors else 0)
    for finding in findings:
        _say(str(finding))
    if errors and not no_check:
        raise UserError(f"{count_levels(findings)}: nothing was submitted")
    if errors:
        _say("warning: --no-check: submitting in spite of the errors above")
    run = submit_staged(staged, report=_say)
    if as_json and not wait:
        print(json.dumps({"run": str(run.root), "scheduler": staged.scheduler}))
        return
    _say(f"run {run.name}/{run.run_id} ({staged.scheduler}): {run.root}")
    if wait:
        _follow(run, poll, as_json)
    else:
        _say(f"follow it:  python -m harness status {run.run_id} --wait\n"
             f"the table:  python -m harness collect {run.run_id}")  # fmt: skip


@app.command()
def check(
    spec: SpecFile,
    overrides: Set = None,
    site: SiteFile = None,
    site_overrides: SetSite = None,
    as_json: AsJson = False,
) -> None:
    """Check a spec without submitting: exit code 0 when it would be accepted, else 2.

    Example: python -m harness check sft.yaml
    """
    _, findings = _stage(spec, overrides, site, site_overrides)
    if as_json:
        print(json.dumps([f.model_dump() for f in findings], indent=2))
    else:
        for finding in findings:
            print(finding)
        print(count_levels(findings))
    raise typer.Exit(2 if any(f.level == "error" for f in findings) else 0)


@app.command()
def status(
    run: RunWord = None,
    site: SiteFile = None,
    site_overrides: SetSite = None,
    wait: Wait = False,
    poll: Poll = None,
    as_json: AsJson = False,
) -> None:
    """Every job and every planned cell (checkpoint x benchmark) of a run.

    Example: python -m harness status --wait
    """
    from harness.runs.paths import find_run
    from harness.scheduling.status import run_status

    found = find_run(run, _runs_dir(site, site_overrides))
    if wait:
        _follow(found, poll, as_json)
        return
    state = run_status(found)
    if as_json:
        print(json.dumps(status_json(state), indent=2))
        return
    print_status(state)
    if state.problem:
        raise HarnessError(state.problem)


@app.command()
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
    from harness.results.collect import collect_file, collect_run
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
        found = find_run(target, _runs_dir(site, site_overrides))
        table = collect_run(found)
        written = [found.results_csv, found.results_plot]
    if output is not None:
        try:
            write_csv(output, table)
        except OSError as error:
            raise UserError(f"{output}: cannot be written: {error}") from None
        written = [output]
    print_table(table, written, as_json)
    raise typer.Exit(0 if table.is_complete else 1)


@app.command()
def cancel(run: RunWord = None, site: SiteFile = None, site_overrides: SetSite = None) -> None:
    """Cancel every job of a run that has not ended.

    Example: python -m harness cancel 20260131-120000-abcd
    """
    from harness.runs.paths import find_run
    from harness.scheduling.release import cancel_run

    found = find_run(run, _runs_dir(site, site_overrides))
    cancelled = cancel_run(found)
    print(
        f"{found.name}/{found.run_id}: cancelled {', '.join(cancelled) or 'nothing: all had ended'}"
    )


@app.command()
def prepare(
    benchmarks: Annotated[list[str] | None, typer.Argument(help="Names; see --list.")] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Take the source files from a folder."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--list", help="List benchmarks and what is prepared.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Prepare again.")] = False,
    site: SiteFile = None,
    site_overrides: SetSite = None,
) -> None:
    """Put benchmark data on disk before any job needs it.

    Example: python -m harness prepare gsm8k ifeval --from downloads/
    """
    from harness.benchmarks.prepare import is_prepared
    from harness.benchmarks.registry import BENCHMARKS, parse
    from harness.compute.prepare import prepare_benchmark

    folder = Path(_load_site(site, site_overrides).benchmarks_dir)
    if show or not benchmarks:
        for b in BENCHMARKS.values():
            state = (
                "prepared" if is_prepared(folder, b.name) else "generated" if b.generate else "-"
            )
            print(f"{b.name:14} {b.items:6} items  {state:10} {b.licence:28} {b.summary}")
        if not show:
            raise UserError("name the benchmarks to prepare")
        return
    names = [parse(word, "prepare").name for word in benchmarks]
    for name in names:
        print(f"{name}: {prepare_benchmark(name, folder, source, force)}", flush=True)


def main() -> None:
    """Entry point: exit codes 0 ok, 1 failed or incomplete, 2 the user's mistake."""
    try:
        app()
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("interrupted; jobs that were submitted go on", file=sys.stderr)
        raise SystemExit(130) from None


def _load_site(site: str | None, overrides: list[str] | None) -> Site:
    from harness.config.load import find_site, load_site
    from harness.preflight.check import resolve_site

    return resolve_site(load_site(find_site(site), overrides or ()))


def _runs_dir(site: str | None, overrides: list[str] | None) -> Path:
    return Path(_load_site(site, overrides).runs_dir)


def _stage(
    word: str, overrides: list[str] | None, site: str | None, site_overrides: list[str] | None
) -> tuple[Staged, tuple[Finding, ...]]:
    from harness.config.load import find_spec, load_spec
    from harness.preflight.check import check, resolve_spec
    from harness.preflight.slurm import check_slurm
    from harness.scheduling.submit import choose_scheduler, stage

    spec = resolve_spec(load_spec(find_spec(word), overrides or ()))
    resolved = _load_site(site, site_overrides)
    scheduler = choose_scheduler(resolved)
    checked = check(spec, resolved, scheduler)
    try:
        staged = stage(spec, resolved, scheduler, checked.rows)
        return staged, (*checked.findings, *check_slurm(staged))
    except UserError as error:
        # Without a readable dataset there may be no plan: then its finding says more.
        raise UserError("\n".join([*map(str, checked.errors), str(error)])) from None


def _follow(run: Any, poll: float | None, as_json: bool) -> None:
    from harness.results.collect import collect_run
    from harness.scheduling.follow import follow

    state = follow(run, _say, poll)
    table = collect_run(run)
    if state.cells:
        print_table(table, [run.results_csv, run.results_plot], as_json)
    failed = [n for n, s in state.jobs.items() if any(t.phase != "completed" for t in s)]
    if failed:
        _say(f"not completed: {', '.join(failed)}; logs: {run.root / 'logs'}")
    raise typer.Exit(1 if failed or table.problems else 0)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
