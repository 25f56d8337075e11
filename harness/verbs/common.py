"""What several verbs do: load the site, follow a run, speak to the person at the screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from harness.errors import UserError, printable
from harness.verbs.screen import count_levels, print_dry_run, print_table

if TYPE_CHECKING:
    from harness.config.reading.source import Source
    from harness.config.site import Site
    from harness.config.spec import Spec
    from harness.preflight.findings import Finding
    from harness.scheduling.stage import Staged


def load_site(site: str | None, overrides: list[str] | None, local: bool = False) -> Site:
    """The site file, with absolute folders; its benchmarks are known from here on.

    `local` takes this machine's own scheduler. Raises UserError.
    """
    from harness.benchmarks.custom import register_prepared
    from harness.config.load import find_site
    from harness.config.load import load_site as load
    from harness.preflight.check import resolve_site

    given = [*(overrides or ())]
    if local:
        told = [text for text in given if text.replace(" ", "").startswith("scheduler=")]
        if told and not told[-1].endswith("local"):
            raise UserError(f"--set-site {told[-1]}: this runs here, without Slurm: leave it out")
        given.append("scheduler=local")
    resolved = resolve_site(load(find_site(site), given))
    register_prepared(Path(resolved.benchmarks_dir))
    return resolved


def known_benchmarks(spec: Spec, source: Source) -> None:
    """Raise UserError, with file and line, for a benchmark that nobody knows."""
    from harness.benchmarks.registry import parse

    for number, word in enumerate(spec.evaluation.benchmarks if spec.evaluation else ()):
        key = ("evaluation", "benchmarks", number)
        parse(word, f"{source.place(key)}: evaluation.benchmarks")


@contextmanager
def at_their_lines(source: Source) -> Iterator[None]:
    """A UserError about a field of the spec is told with the field's file and line."""
    try:
        yield
    except UserError as error:
        line = source.line(str(error).partition(": ")[0])
        raise UserError(f"{line}: {error}" if line else str(error)) from None


def runs_dir_of(site: str | None, overrides: list[str] | None) -> Path:
    """Where runs lie. Raises UserError."""
    return Path(load_site(site, overrides).runs_dir)


def follow_run(run: Any, poll: float | None, as_json: bool) -> None:
    """Wait for the end of a run, show its table, exit 1 when anything is not ok."""
    from harness.results.collect import collect_run
    from harness.scheduling.follow import follow

    state = follow(run, say, poll)
    if state.manifest.plan.serves:
        last = state.server.get("state")
        lost = last in ("starting", "ready")  # its job was killed
        told = "its job ended without the server's last word" if lost else "the server has stopped"
        say(str(state.server.get("reason") or told))
        raise typer.Exit(1 if last != "stopped" else 0)
    table = collect_run(run)
    if state.cells:
        print_table(table, [run.results_csv, run.results_plot, run.train_plot], as_json)
    failed = [n for n, s in state.jobs.items() if any(t.phase != "completed" for t in s)]
    if failed:
        say(f"not completed: {', '.join(failed)}; logs: {run.root / 'logs'}")
    raise typer.Exit(1 if failed or table.problems else 0)


def approve(
    staged: Staged,
    findings: Sequence[Finding],
    dry_run: bool,
    as_json: bool,
    no_check: bool = False,
) -> None:
    """Show what the checks found; returns only when the jobs are to be submitted.

    A dry run shows everything and exits, with 2 where there are errors. Errors are a UserError
    unless `no_check`.
    """
    errors = [finding for finding in findings if finding.level == "error"]
    if dry_run:
        print_dry_run(staged, findings, as_json)
        raise typer.Exit(2 if errors else 0)
    for finding in findings:
        say(str(finding))
    if errors and not no_check:
        raise UserError(
            f"{count_levels(findings)}: nothing was submitted (--no-check skips the checks)"
        )


def local_model(word: str) -> Path:
    """The folder of a model: a path, or an id in the Hub's cache. Raises UserError."""
    from harness.config.load import expand
    from harness.runs.models.folder import cached_snapshot

    folder = expand(word, "MODEL")
    found = folder if folder.is_dir() else cached_snapshot(word)
    if found is None:
        raise UserError(
            f"MODEL: {word}: no such folder, and not in the Hub's cache\n"
            f"Where there is internet: hf download {word}"
        )
    return found


def say(text: str) -> None:
    """A line for the person, on stderr; stdout is for results."""
    print(printable(text), file=sys.stderr, flush=True)
