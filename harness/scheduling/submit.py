"""Staged -> run folder -> jobs. A dry run is the same path, one step short.

Whatever submits jobs does it by `submit_jobs`, inside `undone`: submit, eval, serve and retry.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import package
from harness.benchmarks.prepare import is_prepared, prepare
from harness.benchmarks.registry import BENCHMARKS
from harness.config.reading.source import dump
from harness.config.site import Site
from harness.errors import UserError
from harness.plan.manifest import (
    Intent,
    Manifest,
    add_submission,
    announce,
    describe_environment,
    write_manifest,
)
from harness.plan.plan import PlannedJob
from harness.runs.files import utc_now, write_text
from harness.runs.paths import RunPaths, link_latest
from harness.scheduling.interrupted import undone
from harness.scheduling.render import quote
from harness.scheduling.schedulers.named import scheduler_named
from harness.scheduling.schedulers.scheduler import (
    Dependency,
    RunJob,
    Scheduler,
    sbatch_options,
    shell_defaults,
    submitted_name,
)
from harness.scheduling.stage import Staged

Report = Callable[[str], None]


@dataclass(frozen=True)
class Submittal:
    """One job to submit, and how it hangs on those before it."""

    job: PlannedJob
    after: Sequence[tuple[str, str]] = ()
    """Condition and name of jobs submitted before it."""
    tasks: tuple[int, ...] = ()
    """Which of an array's tasks; empty: all, or a job that is no array."""


def submit(staged: Staged, run_job: RunJob, report: Report = lambda line: None) -> RunPaths:
    """Write the run folder whole, then submit every job of the plan.

    When a submission is refused, what was submitted is cancelled and the folder is removed.
    Raises UserError then, or when the folder cannot be written.
    """
    run = staged.run
    jobs = [Submittal(job, [(e.condition, e.job) for e in job.after]) for job in staged.plan.jobs]
    prepare_generated(staged)
    try:
        write_run_folder(staged, intents(run, jobs))
    except OSError as error:
        shutil.rmtree(run.root, ignore_errors=True)
        raise UserError.at(run.root, f"the run folder cannot be written: {error}") from None
    scheduler = scheduler_named(staged.scheduler, run)
    with undone(run, scheduler, lambda: shutil.rmtree(run.root, ignore_errors=True)) as ids:
        submit_jobs(run, staged.site, scheduler, jobs, run_job, ids, report)
        _write_commands(staged, ids)
        link_latest(run.root)
        scheduler.start(run, staged.site)
    return run


def intents(run: RunPaths, jobs: Sequence[Submittal]) -> list[Intent]:
    """What is to be written down before the first of these jobs is submitted."""
    return [
        Intent(job=each.job.name, name=submitted_name(run, each.job.name), tasks=each.tasks)
        for each in jobs
    ]


def submit_jobs(
    run: RunPaths,
    site: Site,
    scheduler: Scheduler,
    jobs: Sequence[Submittal],
    run_job: RunJob,
    ids: dict[str, str],
    report: Report,
) -> None:
    """Submit announced jobs in order; each id goes into `ids` and the run's record at once.

    Raises SubmissionError when one is refused.
    """
    for each in jobs:
        name = each.job.name
        after = [Dependency(condition, ids[job]) for condition, job in each.after]
        ids[name] = scheduler.submit(run, each.job, after, site, run_job, each.tasks)
        add_submission(run, name, ids[name], each.tasks)
        report(f"{name}: job {ids[name]}")


def prepare_generated(staged: Staged) -> None:
    """Write the items of generated benchmarks; the others were checked to be there."""
    folder = Path(staged.site.benchmarks_dir)
    for name in {cell.benchmark for cell in staged.plan.cells}:
        if BENCHMARKS[name].generate and not is_prepared(folder, name):
            prepare(name, folder)


def write_run_folder(staged: Staged, announced: Sequence[Intent] = ()) -> None:
    """spec, site, manifest and scripts, under a temporary name first. Raises OSError."""
    final = staged.run.root
    partial = RunPaths(final.parent / f".{final.name}.partial")
    try:
        write_text(partial.spec, dump(staged.spec.model_dump(mode="json")))
        write_text(partial.site, dump(staged.site.model_dump(mode="json", exclude_unset=True)))
        package.copy_to(partial.code)
        partial.scripts.mkdir()
        for name, text in staged.scripts.items():
            partial.script(name).write_text(text, encoding="utf-8")
            partial.script(name).chmod(0o755)
            partial.logs(name).mkdir(parents=True)
        write_manifest(
            partial,
            Manifest(
                run_id=final.name,
                created=utc_now(),
                scheduler=staged.scheduler,
                plan=staged.plan,
                environment=describe_environment(package.ROOT),
            ),
        )
        announce(partial, announced)
        partial.root.rename(final)
    except OSError:
        shutil.rmtree(partial.root, ignore_errors=True)
        raise


def _write_commands(staged: Staged, ids: Mapping[str, str]) -> None:
    """commands.sh: what was submitted, and how to do each job's work again by hand."""
    lines = [
        "#!/bin/bash",
        f"# Run {staged.run.name}/{staged.run.run_id}. Each job was submitted as the comment says;",
        "# the line below it does the same work here, without a scheduler.",
        f"cd {quote(staged.run.code)} || exit 1",
    ]
    for job in staged.plan.jobs:
        after = [Dependency(e.condition, ids[e.job]) for e in job.after]
        options = sbatch_options(submitted_name(staged.run, job.name), after, job)
        options += shell_defaults(job, os.environ) if staged.scheduler == "slurm" else []
        command = ["sbatch", *options, str(staged.run.script(job.name))]
        lines.append(f"\n# job {ids[job.name]}: {' '.join(quote(word) for word in command)}")
        for index in range(max(len(job.tasks), 1)):
            lines.append(f"# python -m harness.entry {quote(staged.run.root)} {job.name} {index}")
    write_text(staged.run.commands, "\n".join(lines) + "\n", mode=0o755)
