"""A run, from its spec to its end: submit, check, status, cancel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import HarnessError, UserError
from harness.verbs.common import (
    approve,
    at_their_lines,
    follow_run,
    known_benchmarks,
    load_site,
    runs_dir_of,
    say,
)
from harness.verbs.options import (
    AsJson,
    Poll,
    RunWord,
    Set,
    SetSite,
    SiteFile,
    SpecFile,
    Wait,
    only_while_waiting,
)
from harness.verbs.screen import count_levels, print_status, status_json

if TYPE_CHECKING:
    from harness.preflight.findings import Finding
    from harness.scheduling.stage import Staged


def submit(
    spec: SpecFile,
    overrides: Set = None,
    site: SiteFile = None,
    site_overrides: SetSite = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show plan and scripts; touch nothing.")
    ] = False,
    no_check: Annotated[
        bool, typer.Option("--no-check", help="Skip the checks of `check`, with a warning.")
    ] = False,
    wait: Wait = False,
    poll: Poll = None,
    as_json: AsJson = False,
) -> None:
    """Submit a run: training, one evaluation array per checkpoint, the table.

    Example: python -m harness submit sft.yaml --set train.max_steps=1000 --dry-run
    """
    from harness.entry import run_job
    from harness.scheduling.submit import submit as submit_staged

    only_while_waiting(poll, wait)
    staged, findings = _stage(spec, overrides, site, site_overrides, no_check)
    approve(staged, findings, dry_run, as_json)
    run = submit_staged(staged, run_job, report=say)
    if as_json and not wait:
        print(json.dumps({"run": str(run.root), "scheduler": staged.scheduler}))
        return
    say(f"run {run.name}/{run.run_id} ({staged.scheduler}): {run.root}")
    if wait:
        follow_run(run, poll, as_json)
    else:
        say(f"follow it:  python -m harness status {run.run_id} --wait\n"
             f"the table:  python -m harness collect {run.run_id}")  # fmt: skip


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

    only_while_waiting(poll, wait)
    found = find_run(run, runs_dir_of(site, site_overrides))
    if wait:
        follow_run(found, poll, as_json)
        return
    state = run_status(found)
    if as_json:
        print(json.dumps(status_json(state), indent=2))
        return
    print_status(state)
    if state.problem:
        raise HarnessError(state.problem)


def retry(
    run: RunWord = None,
    site: SiteFile = None,
    site_overrides: SetSite = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be submitted; submit nothing.")
    ] = False,
    forgotten: Annotated[
        bool,
        typer.Option("--forgotten", help="Jobs that the scheduler no longer knows have ended."),
    ] = False,
    wait: Wait = False,
    poll: Poll = None,
    as_json: AsJson = False,
) -> None:
    """Submit again what is not ok: training goes on, cells that are ok stay as they are.

    Example: python -m harness retry 20260131-120000-abcd --dry-run
    """
    from harness.entry import run_job
    from harness.preflight.evaluation.judge import check_key
    from harness.runs.paths import find_run
    from harness.scheduling import retry as again
    from harness.scheduling.status import run_status

    only_while_waiting(poll, wait)
    if wait and dry_run:
        raise UserError("--wait and --dry-run: a dry run starts nothing to wait for")
    found = find_run(run, runs_dir_of(site, site_overrides))
    show = print if dry_run and not as_json else say
    with again.retrying(found):
        state = run_status(found)
        again.check_ended(state, forgotten)
        plan = again.plan_retry(state, state.facts.evaluable)
        lines = again.describe(plan, state.manifest, state.train)
        for line in lines:
            show(line)
        if not dry_run:
            check_key(state.facts, [a.job for a in plan.jobs])
            again.submit_again(state, plan, run_job, report=say)
    if as_json and not wait:
        jobs = {a.job.name: list(a.tasks) for a in plan.jobs}
        print(json.dumps({"run": str(found.root), "jobs": jobs, "submitted": not dry_run}))
    elif dry_run:
        show("dry run: nothing was submitted")
    elif not plan.jobs:
        say("nothing to retry")
    if wait and plan.jobs and not dry_run:
        follow_run(found, poll, as_json)
    raise typer.Exit(1 if plan.hopeless else 0)


def cancel(run: RunWord = None, site: SiteFile = None, site_overrides: SetSite = None) -> None:
    """Cancel every job of a run that has not ended.

    Example: python -m harness cancel 20260131-120000-abcd
    """
    from harness.runs.paths import find_run
    from harness.scheduling.release import cancel_run

    found = find_run(run, runs_dir_of(site, site_overrides))
    cancelled = cancel_run(found)
    print(
        f"{found.name}/{found.run_id}: cancelled {', '.join(cancelled) or 'nothing: all had ended'}"
    )


def _stage(
    word: str,
    overrides: list[str] | None,
    site: str | None,
    site_overrides: list[str] | None,
    no_check: bool = False,
) -> tuple[Staged, tuple[Finding, ...]]:
    """Check, plan and render; with `no_check` only what the plan cannot do without."""
    from harness.config.load import find_spec, read_spec
    from harness.preflight.check import check, resolve_spec, unchecked
    from harness.preflight.cluster.slurm import check_slurm
    from harness.scheduling.stage import choose_scheduler, stage

    given, source = read_spec(find_spec(word), overrides or ())
    resolved = load_site(site, site_overrides)
    known_benchmarks(given, source)
    with at_their_lines(source):
        spec = resolve_spec(given)
        scheduler = choose_scheduler(resolved)
        checked = unchecked(spec) if no_check else check(spec, resolved, scheduler, say)
        found = tuple(
            f.model_copy(update={"line": source.line(f.place)}) if f.level == "error" else f
            for f in checked.findings
        )
        try:
            staged = stage(checked.spec, resolved, scheduler, checked.rows)
        except UserError as error:
            # Without a readable dataset there may be no plan: then its finding says more.
            errors = [str(f) for f in found if f.level == "error"]
            told = "\n".join([*errors, f"error: {error}"])
            raise UserError(told.removeprefix("error: ")) from None
    return staged, found if no_check else (*found, *check_slurm(staged))
