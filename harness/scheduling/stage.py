"""Spec and site -> plan and scripts, for whatever runs: nothing is written, nothing submitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.config.evaluate import EvalSpec
from harness.config.serve import ServeSpec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.errors import UserError
from harness.plan.plan import Plan, build_plan, eval_plan, serve_plan
from harness.runs.paths import RunPaths, key_file, new_run_id
from harness.scheduling.render import Place, render
from harness.scheduling.schedulers import slurm

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
    """A run that trains, of a resolved spec and site. `rows`: of its dataset."""
    train = spec.train
    judge = spec.evaluation and spec.evaluation.judge and spec.evaluation.judge.serve
    paths: list[str | None] = [source.path for source in train.sources]
    paths += [site.benchmarks_dir, train.output_dir, train.model_name]
    paths.append(train.chat_template_path)
    paths.append(judge.model if judge else None)
    return _staged(spec, site, scheduler, build_plan(spec, site, rows), _new_run(spec, site), paths)


def stage_eval(spec: EvalSpec, site: Site, scheduler: SchedulerName) -> Staged:
    """One model that is evaluated as it is."""
    paths = [spec.model, site.benchmarks_dir, spec.chat_template]
    return _staged(spec, site, scheduler, eval_plan(spec, site), _new_run(spec, site), paths)


def stage_serve(spec: ServeSpec, site: Site, scheduler: SchedulerName) -> Staged:
    """A server of its own. Its key's file is named, not made."""
    run = _new_run(spec, site)
    paths = [spec.model, *spec.lora_adapters.values(), spec.chat_template]
    if spec.server.kind.checks_key:
        path = key_file(run.run_id)
        spec = spec.model_copy(update={"key_file": str(path)})
        paths.append(str(path.parent))
    return _staged(spec, site, scheduler, serve_plan(spec, site), run, paths)


def _new_run(spec: Spec | ServeSpec | EvalSpec, site: Site) -> RunPaths:
    return RunPaths(Path(site.runs_dir) / spec.name / new_run_id())


def _staged(
    spec: Spec | ServeSpec | EvalSpec,
    site: Site,
    scheduler: SchedulerName,
    plan: Plan,
    run: RunPaths,
    paths: Sequence[str | None],
) -> Staged:
    """Render every job; containers must see the absolute ones among `paths`."""
    place = Place(
        run, run.code, mounts=tuple(path for path in paths if path and path.startswith("/"))
    )
    scripts = {job.name: render(job, plan, site, place) for job in plan.jobs}
    return Staged(spec, site, scheduler, plan, run, scripts)
