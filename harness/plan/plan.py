"""(spec, site) -> every job, array, edge, resource and cell. Pure: no files, no clock.

The chain of one run:

    train ──afterok──> eval-checkpoint-500   (an array; one task per benchmark)
          ──afterok──> eval-checkpoint-1000 ──afterany──> judge-checkpoint-1000
          ──afterany─> close                 (releases or cancels the arrays that are left)
    eval-base                                (the model before training; waits for nothing)
    judge-…                                  (without GPUs; where a judge is asked elsewhere)
    all of them ──afterany──> collect        (the table)
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from harness.benchmarks.registry import parse
from harness.config.base import Frozen, minutes
from harness.config.evaluate import EvalSpec
from harness.config.evaluation import EvaluationSpec
from harness.config.serve import ServeSpec
from harness.config.site import JobKind, Role, Site, SlurmOptions
from harness.config.spec import Spec
from harness.config.training.train import TrainSpec
from harness.errors import UserError
from harness.plan.steps import planned_steps, total_steps
from harness.runs.paths import BASE, checkpoint_name, step_of_name

Condition = Literal["afterok", "afterany"]
Work = Literal["train", "evaluate", "judge", "serve", "close", "collect"]


class Edge(Frozen):
    """This job waits for another: `afterok` its success, `afterany` its end."""

    job: str
    condition: Condition


class Cell(Frozen):
    """One benchmark on one checkpoint."""

    checkpoint: str
    benchmark: str
    repeats: int = 1


class PlannedJob(Frozen):
    """One sbatch: a single job, or an array with one entry of `tasks` per array task."""

    name: str
    work: Work
    kind: JobKind
    role: Role
    after: tuple[Edge, ...] = ()
    tasks: tuple[tuple[Cell, ...], ...] = ()
    """Cells of each array task; empty for a job that is no array."""
    judges: tuple[Cell, ...] = ()
    """Cells whose answers this job has judged; an array before it makes them."""
    nodes: int = 1
    gpus_per_node: int = 0
    cpu_processes: int = 0
    """Of training without GPUs: processes on each node, each with what the site gives to a GPU."""
    cpus_per_node: int = 1
    options: SlurmOptions
    """The site's options for this kind of job, with the spec's time limit."""

    @property
    def is_array(self) -> bool:
        return bool(self.tasks)

    @property
    def shares(self) -> int:
        """How many times the site's cores and memory for one GPU a node gives."""
        return max(self.gpus_per_node, self.cpu_processes, 1)

    @property
    def minutes(self) -> int:
        """Time limit in minutes."""
        assert self.options.time_limit
        return minutes(self.options.time_limit)


class PlannedCheckpoint(Frozen):
    """A checkpoint that training is expected to write, or the base model (step 0)."""

    name: str
    step: int


class Plan(Frozen):
    """Everything that a run will do."""

    name: str
    total_steps: int
    jobs: tuple[PlannedJob, ...]
    checkpoints: tuple[PlannedCheckpoint, ...]

    @cached_property
    def _by_name(self) -> dict[str, PlannedJob]:
        return {job.name: job for job in self.jobs}

    @cached_property
    def _by_checkpoint(self) -> dict[str, list[Cell]]:
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(cell.checkpoint, []).append(cell)
        return found

    @cached_property
    def _places(self) -> dict[Cell, tuple[PlannedJob, int]]:
        return {
            cell: (job, index)
            for job in self.jobs
            for index, task in enumerate(job.tasks)
            for cell in task
        }

    @cached_property
    def _judges(self) -> dict[Cell, PlannedJob]:
        return {cell: job for job in self.jobs for cell in job.judges}

    @cached_property
    def _steps(self) -> dict[str, int]:
        return {checkpoint.name: checkpoint.step for checkpoint in self.checkpoints}

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every planned cell, checkpoint by checkpoint."""
        return tuple(cell for job in self.jobs for task in job.tasks for cell in task)

    @property
    def serves(self) -> bool:
        """Whether this is a server of its own, which has neither cells nor a table."""
        return any(job.work == "serve" for job in self.jobs)

    def job(self, name: str) -> PlannedJob:
        """The job of that name."""
        return self._by_name[name]

    def cells_of(self, checkpoint: str) -> list[Cell]:
        """The cells of a checkpoint; none where it is not to be evaluated."""
        return self._by_checkpoint.get(checkpoint, [])

    def step(self, checkpoint: str) -> int:
        """Optimizer step of a planned checkpoint."""
        return self._steps[checkpoint]

    def job_of(self, cell: Cell) -> tuple[PlannedJob, int]:
        """The array and the index of the task that makes a cell."""
        return self._places[cell]

    def judging(self, cell: Cell) -> PlannedJob | None:
        """The job that has a cell's answers judged; None where the task that makes it does all."""
        return self._judges.get(cell)


def eval_job_name(checkpoint: str) -> str:
    """Name of the array that evaluates a checkpoint."""
    return f"eval-{checkpoint}"


def build_plan(spec: Spec, site: Site, rows: int | None = None) -> Plan:
    """The plan of a run. `rows` is the dataset's size, needed when `max_steps` is unset.

    Raises UserError for an unknown benchmark or a checkpoint that training will not write.
    """
    total = total_steps(spec.train, rows)
    train = _train_job(spec.train, site)
    if spec.evaluation is None:
        return Plan(name=spec.name, total_steps=total, jobs=(train,), checkpoints=())
    checkpoints = _checkpoints(spec.evaluation, planned_steps(spec.train, total))
    arrays = [
        job for checkpoint in checkpoints for job in _eval_jobs(spec.evaluation, site, checkpoint)
    ]
    afterany = tuple(Edge(job=j.name, condition="afterany") for j in (train, *arrays))
    close = _cpu_job(site, "close", (afterany[0],))
    collect = _cpu_job(site, "collect", (*afterany, Edge(job=close.name, condition="afterany")))
    return Plan(
        name=spec.name,
        total_steps=total,
        jobs=(train, *arrays, close, collect),
        checkpoints=tuple(checkpoints),
    )


def eval_plan(spec: EvalSpec, site: Site) -> Plan:
    """One array that evaluates a model as it is, and its table."""
    step = step_of_name(spec.checkpoint) or 0
    checkpoint = PlannedCheckpoint(name=spec.checkpoint, step=step)
    array, *judge = _eval_jobs(spec.evaluation, site, checkpoint)
    jobs = (array.model_copy(update={"after": ()}), *judge)
    afterany = tuple(Edge(job=job.name, condition="afterany") for job in jobs)
    collect = _cpu_job(site, "collect", afterany)
    return Plan(name=spec.name, total_steps=0, jobs=(*jobs, collect), checkpoints=(checkpoint,))


def serve_plan(spec: ServeSpec, site: Site) -> Plan:
    """One job that serves a model until it is cancelled or its time is up."""
    options = _with_time(site.options("evaluate"), spec.time_limit)
    gpus = spec.server.gpu_count
    job = PlannedJob(
        name="serve", work="serve", kind="evaluate", role="evaluate",
        gpus_per_node=gpus, cpus_per_node=_cpus(options, gpus), options=options,
    )  # fmt: skip
    return Plan(name=spec.name, total_steps=0, jobs=(job,), checkpoints=())


def _checkpoints(evaluation: EvaluationSpec, steps: list[int]) -> list[PlannedCheckpoint]:
    wanted = evaluation.checkpoints
    if wanted == "last":
        chosen = steps[-1:]
    elif wanted == "all":
        chosen = steps
    else:
        unknown = sorted(set(wanted) - set(steps))
        if unknown:
            known = ", ".join(map(str, steps[:8])) + (", …" if len(steps) > 8 else "")
            raise UserError(
                f"evaluation.checkpoints: training writes no checkpoint at step "
                f"{', '.join(map(str, unknown))}; it will at {known}"
            )
        chosen = sorted(set(wanted))
    base = [PlannedCheckpoint(name=BASE, step=0)] if evaluation.base_model else []
    return [*base, *(PlannedCheckpoint(name=checkpoint_name(s), step=s) for s in chosen)]


def _train_job(train: TrainSpec, site: Site) -> PlannedJob:
    options = _with_time(site.options("train"), train.time_limit)
    return PlannedJob(
        name="train", work="train", kind="train", role="train",
        nodes=train.nodes,
        gpus_per_node=0 if train.use_cpu else train.gpus_per_node,
        cpu_processes=train.cpu_processes if train.use_cpu else 0,
        cpus_per_node=_cpus(options, train.processes_per_node),
        options=options,
    )  # fmt: skip


def _eval_jobs(
    evaluation: EvaluationSpec, site: Site, checkpoint: PlannedCheckpoint
) -> tuple[PlannedJob, ...]:
    """The array of a checkpoint, and its judge's job where answers go to one elsewhere."""
    runs = [parse(word, "evaluation.benchmarks") for word in evaluation.benchmarks]
    cells = [Cell(checkpoint=checkpoint.name, benchmark=r.name, repeats=r.repeats) for r in runs]
    options = _with_time(site.options("evaluate"), evaluation.time_limit)
    gpus = evaluation.server.gpu_count
    judged = tuple(c for c, r in zip(cells, runs, strict=True) if r.benchmark.needs_judge)
    served = evaluation.judge and evaluation.judge.serve
    if served and judged:
        gpus = max(gpus, served.server.gpu_count)  # one after the other, on the same GPUs
    array = PlannedJob(
        name=eval_job_name(checkpoint.name),
        work="evaluate",
        kind="evaluate",
        role="evaluate",
        after=() if checkpoint.step == 0 else (Edge(job="train", condition="afterok"),),
        tasks=(tuple(cells),) if evaluation.tasks == "one" else tuple((c,) for c in cells),
        gpus_per_node=gpus,
        cpus_per_node=_cpus(options, gpus),
        options=options,
    )
    if served or not judged:
        return (array,)
    name = f"judge-{checkpoint.name}"
    answered = (Edge(job=array.name, condition="afterany"),)
    return array, _cpu_job(site, "judge", answered, name=name, judges=judged)


def _cpu_job(
    site: Site,
    work: Literal["judge", "close", "collect"],
    after: tuple[Edge, ...],
    name: str = "",
    judges: tuple[Cell, ...] = (),
) -> PlannedJob:
    kind: JobKind = "judge" if work == "judge" else "control"
    options = site.options(kind)
    return PlannedJob(
        name=name or work,
        work=work,
        kind=kind,
        role="evaluate",
        after=after,
        judges=judges,
        cpus_per_node=_cpus(options, 0),
        options=options,
    )


def _with_time(options: SlurmOptions, time_limit: str | None) -> SlurmOptions:
    return options.model_copy(update={"time_limit": time_limit}) if time_limit else options


def _cpus(options: SlurmOptions, shares: int) -> int:
    return (options.cpus_per_gpu or 1) * max(shares, 1)
