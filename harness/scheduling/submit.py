"""Plan -> run folder -> jobs. A dry run is the same path, one step short."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from harness.benchmarks.prepare import is_prepared, prepare
from harness.benchmarks.registry import BENCHMARKS
from harness.config.evaluate import EvalSpec
from harness.config.load import PROJECT_ROOT
from harness.config.serve import ServeSpec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.errors import HarnessError, SchedulerError, UserError
from harness.plan.plan import Plan, build_plan, eval_plan
from harness.runs.files import utc_now, write_text
from harness.runs.paths import RunPaths, link_latest, new_run_id
from harness.scheduling import slurm
from harness.scheduling.local import LocalScheduler
from harness.plan.manifest import (
    Manifest,
    add_submission,
    describe_environment,
    write_manifest,
)
from harness.scheduling.render import Place, quote, render
from harness.scheduling.scheduler import Dependency, Scheduler, sbatch_options

SchedulerName = Literal["slurm", "local"]


def choose_scheduler(site: Site) -> SchedulerName:
    """`auto` takes Slurm where sbatch is found. Raises UserError when slurm is asked for in vain."""
    if site.scheduler == "slurm" and not slurm.is_available():
        raise UserError(
            "site: scheduler: slurm is asked for, but there is no sbatch on this machine's PATH\n"
            "Submit from a login node, or run here with --set-site scheduler=local"
        )
    if site.scheduler == "auto":
        return "slurm" if slurm.is_available() else "local"
    return site.scheduler


@dataclass(frozen=True)
class Staged:
    """Everything that a submission would do."""

    spec: Spec | ServeSpec | EvalSpec
    site: Site
    scheduler: SchedulerName
    plan: Plan
    run: RunPaths
    scripts: dict[str, str]
    """By job name."""


def stage(spec: Spec, site: Site, scheduler: SchedulerName, rows: int | None) -> Staged:
    """Plan and render, of a resolved spec and site; nothing is written."""
    plan = build_plan(spec, site, rows)
    run = RunPaths(Path(site.runs_dir) / spec.name / new_run_id())
    place = Place(run, mounts=_mounts(spec, site))
    scripts = {job.name: render(job, plan, site, place) for job in plan.jobs}
    return Staged(spec, site, scheduler, plan, run, scripts)


def stage_eval(spec: EvalSpec, site: Site, scheduler: SchedulerName) -> Staged:
    """The same for one model that is evaluated as it is."""
    plan = eval_plan(spec, site)
    run = RunPaths(Path(site.runs_dir) / spec.name / new_run_id())
    paths = (spec.model, site.benchmarks_dir, spec.chat_template)
    place = Place(run, mounts=tuple(p for p in paths if p and p.startswith("/")))
    scripts = {job.name: render(job, plan, site, place) for job in plan.jobs}
    return Staged(spec, site, scheduler, plan, run, scripts)


def _mounts(spec: Spec, site: Site) -> tuple[str, ...]:
    train = spec.train
    paths = [train.dataset_name, site.benchmarks_dir, train.output_dir, train.model_name]
    judge = spec.evaluation and spec.evaluation.judge and spec.evaluation.judge.serve
    paths.append(judge.model if judge else None)
    return tuple(p for p in paths if p and p.startswith("/"))


def submit(staged: Staged, report: Callable[[str], None] = lambda line: None) -> RunPaths:
    """Write the run folder whole, then submit every job of the plan.

    When a submission is refused, what was submitted is cancelled and the folder is removed.
    Raises UserError then, or when the folder cannot be written.
    """
    prepare_generated(staged)
    try:
        write_run_folder(staged)
    except OSError as error:
        shutil.rmtree(staged.run.root, ignore_errors=True)
        raise UserError(f"{staged.run.root}: the run folder cannot be written: {error}") from None
    scheduler: Scheduler = (
        slurm.SlurmScheduler() if staged.scheduler == "slurm" else LocalScheduler(staged.run)
    )
    ids: dict[str, str] = {}
    try:
        for job in staged.plan.jobs:
            after = [Dependency(e.condition, ids[e.job]) for e in job.after]
            script = staged.scripts[job.name]
            ids[job.name] = scheduler.submit(staged.run, job, script, after, staged.site)
            add_submission(staged.run, job.name, ids[job.name])
            report(f"{job.name}: job {ids[job.name]}")
        _write_commands(staged, ids)
        link_latest(staged.run.root)
        scheduler.start(staged.run, staged.site)
    except BaseException as error:
        _undo(scheduler, ids, staged.run)
        if isinstance(error, SchedulerError):
            raise UserError(f"{error}\nNothing is left submitted.") from None
        raise
    return staged.run


def _undo(scheduler: Scheduler, ids: dict[str, str], run: RunPaths) -> None:
    try:
        scheduler.cancel(ids.values())
    except HarnessError as error:
        raise SchedulerError(
            f"{len(ids)} jobs were submitted and could not be cancelled again: "
            f"{', '.join(ids.values())} ({error})"
        ) from None
    shutil.rmtree(run.root, ignore_errors=True)


def prepare_generated(staged: Staged) -> None:
    """Write the items of generated benchmarks; the others were checked to be there."""
    folder = Path(staged.site.benchmarks_dir)
    for name in {cell.benchmark for cell in staged.plan.cells}:
        if BENCHMARKS[name].generate and not is_prepared(folder, name):
            prepare(name, folder)


def write_run_folder(staged: Staged) -> None:
    """spec, site, manifest and scripts, under a temporary name first. Raises OSError."""
    final = staged.run.root
    partial = RunPaths(final.parent / f".{final.name}.partial")
    try:
        write_text(partial.spec, _yaml(staged.spec.model_dump(mode="json")))
        write_text(partial.site, _yaml(staged.site.model_dump(mode="json", exclude_unset=True)))
        for name, text in staged.scripts.items():
            write_text(partial.script(name), text, mode=0o755)
            partial.logs(name).mkdir(parents=True)
        write_manifest(
            partial,
            Manifest(
                run_id=final.name,
                created=utc_now(),
                scheduler=staged.scheduler,
                plan=staged.plan,
                environment=describe_environment(PROJECT_ROOT),
            ),
        )
        partial.root.rename(final)
    except OSError:
        shutil.rmtree(partial.root, ignore_errors=True)
        raise


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _write_commands(staged: Staged, ids: dict[str, str]) -> None:
    """commands.sh: what was submitted, and how to do each job's work again by hand."""
    lines = [
        "#!/bin/bash",
        f"# Run {staged.run.name}/{staged.run.run_id}. Each job was submitted as the comment says;",
        "# the line below it does the same work here, without a scheduler.",
        f"cd {quote(PROJECT_ROOT)} || exit 1",
    ]
    for job in staged.plan.jobs:
        after = [Dependency(e.condition, ids[e.job]) for e in job.after]
        command = ["sbatch", *sbatch_options(after), str(staged.run.script(job.name))]
        lines.append(f"\n# job {ids[job.name]}: {' '.join(quote(word) for word in command)}")
        for index in range(max(len(job.tasks), 1)):
            lines.append(
                f"# python -m harness.entry {quote(staged.run.root)} {job.name} {index}"
            )
    write_text(staged.run.commands, "\n".join(lines) + "\n", mode=0o755)
