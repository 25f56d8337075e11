"""Plan -> the text of each script. Pure: the same plan gives the same text."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment as Jinja
from jinja2 import FileSystemLoader, StrictUndefined

from harness.config.site import Environment, Site, SlurmOptions
from harness.errors import UserError
from harness.package import SHIPPED
from harness.plan.plan import Plan, PlannedJob
from harness.processes.environments import GUARD, activation, pyxis_flags, wrap
from harness.runs.paths import RunPaths

TEMPLATES = SHIPPED / "templates" / "sbatch"
Directive = tuple[str, str | None]


@dataclass(frozen=True)
class Place:
    """Where a run lies and what runs it: all that a script needs beside plan and site."""

    run: RunPaths
    project: Path
    """The folder from which jobs import this package."""
    python: str = sys.executable
    """Used by roles for which the site names no environment."""
    mounts: tuple[str, ...] = ()
    """Folders that jobs read or write outside the run folder and the project."""


def render(job: PlannedJob, plan: Plan, site: Site, place: Place) -> str:
    """The script of one job, ready for sbatch. Raises UserError for an unusable run folder."""
    _check_path(place.run.root)
    environment = site.environment(job.role)
    template = _jinja().get_template(f"{job.work}.sh.j2")
    return template.render(
        job=job,
        plan=plan,
        run=place.run,
        project=str(place.project),
        directives=directives(job, plan, place.run),
        variables=environment.variables,
        activate="" if environment.container else _activate(environment, place),
        srun=srun_options(job, environment, place),
        command=job_command(job, environment, place),
        describe=describe,
    )


def _activate(environment: Environment, place: Place) -> str:
    if not environment.activate:
        return ""
    return activation(environment.activate, f"source {quote(place.project / GUARD)}")


def srun_options(job: PlannedJob, environment: Environment, place: Place) -> list[str]:
    """srun's own options. Since Slurm 22.05 it no longer takes --cpus-per-task from sbatch."""
    folder = place.run.logs(job.name)
    pattern = "%A_%a_%t_log" if job.is_array else "%j_%t_log"
    options = [
        "--unbuffered",
        "--kill-on-bad-exit=1",
        f"--cpus-per-task={job.cpus_per_node}",
        f"--output={folder / pattern}.out",
        f"--error={folder / pattern}.err",
        "--open-mode=append",
    ]
    if environment.container and environment.runtime == "pyxis":
        options += pyxis_flags(environment, _mounts(place))
    return options


def job_command(job: PlannedJob, environment: Environment, place: Place) -> list[str]:
    """What srun starts: submitit's own line, inside the role's container if it has one."""
    named = environment.container or environment.activate
    python = "python" if named else place.python
    inner = [python, "-u", "-m", "submitit.core._submit", str(place.run.logs(job.name))]
    if environment.container and environment.runtime != "pyxis":
        return wrap(environment, inner, _mounts(place))
    return inner


def _mounts(place: Place) -> list[str]:
    return [str(place.run.root), str(place.project), *place.mounts]


def directives(job: PlannedJob, plan: Plan, run: RunPaths) -> list[Directive]:
    """The #SBATCH options of a job, in the order in which a person reads them."""
    options = job.options
    folder = run.logs(job.name)
    pattern = "%A_%a_0_log" if job.is_array else "%j_0_log"
    lines: list[Directive] = [("job-name", f"{plan.name}:{job.name}")]
    if job.is_array:
        throttle = f"%{options.max_parallel_tasks}" if options.max_parallel_tasks else ""
        lines.append(("array", f"0-{len(job.tasks) - 1}{throttle}"))
    for name in ("partition", "account", "qos", "constraint", "reservation", "exclude"):
        lines.append((name, getattr(options, name)))
    lines += [("nodes", str(job.nodes)), ("ntasks-per-node", "1")]
    lines += _gpu_directives(job, options)
    lines += [("cpus-per-task", str(job.cpus_per_node))]
    if options.mem_per_gpu_gb:
        lines.append(("mem", f"{options.mem_per_gpu_gb * job.shares}G"))
    lines += [
        ("time", options.time_limit),
        ("signal", f"USR2@{options.signal_seconds}"),
        ("output", f"{folder / pattern}.out"),
        ("error", f"{folder / pattern}.err"),
        ("open-mode", "append"),
        ("requeue", ""),
    ]
    for name, value in options.extra.items():
        if value is not False:
            lines.append((name, "" if value is True else str(value)))
    return [(name, value) for name, value in lines if value is not None]


def _gpu_directives(job: PlannedJob, options: SlurmOptions) -> list[Directive]:
    if not job.gpus_per_node:
        return []
    count = f"{options.gpu_type}:{job.gpus_per_node}" if options.gpu_type else job.gpus_per_node
    if options.gres_style == "gres":
        return [("gres", f"gpu:{count}")]
    return [("gpus-per-node", str(count))]


def describe(job: PlannedJob, plan: Plan) -> str:
    """One line that says what a job is for."""
    if job.work == "train":
        on = f"{job.gpus_per_node} GPUs" if job.gpus_per_node else f"{job.shares} CPU processes"
        return f"SFT, {plan.total_steps} steps on {job.nodes} x {on}"
    if job.work == "evaluate":
        benchmarks = ", ".join(cell.benchmark for task in job.tasks for cell in task)
        return f"evaluate {job.tasks[0][0].checkpoint} on {benchmarks}"
    if job.work == "judge":
        names = ", ".join(cell.benchmark for cell in job.judges)
        return f"have the answers of {job.judges[0].checkpoint} judged: {names}"
    if job.work == "serve":
        on = f"{job.gpus_per_node} GPUs" if job.gpus_per_node else f"{job.cpus_per_node} CPUs"
        return f"serve a model on {on} until it is cancelled"
    if job.work == "close":
        return "release or cancel the arrays that training left waiting"
    return "collect every cell into one table"


def quote(value: object) -> str:
    """One value as one word of bash (and of an #SBATCH line). The only quoting there is."""
    return shlex.quote(str(value))


def words(command: Sequence[str]) -> str:
    """A command as one line of bash, each word quoted."""
    return " ".join(quote(word) for word in command)


@lru_cache
def _jinja() -> Jinja:
    jinja = Jinja(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    jinja.filters["q"] = quote
    jinja.filters["words"] = words
    jinja.filters["comment"] = lambda text: " ".join(str(text).split())
    return jinja


def _check_path(path: Path) -> None:
    bad = [c for c in str(path) if c in "%\\" or ord(c) < 32]
    if bad:
        raise UserError(
            f"{path}: a run folder's path may not hold {bad[0]!r}: Slurm gives it a meaning of its "
            "own in file names. Choose another runs_dir in site.yaml"
        )
