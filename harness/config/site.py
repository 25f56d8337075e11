"""Everything that belongs to a cluster and not to an experiment: `site.yaml`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from harness.config.base import (
    FieldError,
    Frozen,
    Line,
    Location,
    Scalar,
    TimeLimit,
    Word,
    one_line,
    one_of,
)
from harness.config.engines import ENGINES

JobKind = Literal["train", "evaluate", "judge", "control"]
Role = Annotated[str, one_of(["train", "evaluate", *ENGINES, "nemo-skills", "lm-eval"])]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPTION = re.compile(r"[a-z][a-z0-9-]*")
SECRET_NAME = re.compile(r"(_TOKEN|_KEY|_SECRET|PASSWORD|_CREDENTIALS)\Z", re.IGNORECASE)


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of an environment variable")
    return name


VariableName = Annotated[str, AfterValidator(_variable)]


class SlurmOptions(Frozen):
    """sbatch options for a kind of job. What is unset is not passed, so Slurm's default holds."""

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    reservation: Word | None = None
    exclude: Word | None = None
    """Nodes never to be used, in Slurm's host list format."""
    gres_style: Literal["gpus-per-node", "gres"] | None = None
    """How GPUs are asked for: `--gpus-per-node=8` (default) or `--gres=gpu:8`."""
    gpu_type: Word | None = None
    """As in `--gpus-per-node=h100:8`."""
    cpus_per_gpu: int | None = Field(default=None, ge=1, le=100_000)
    """CPU cores for each GPU, or process of training on CPU (default 8); other jobs get them once."""
    mem_per_gpu_gb: int | None = Field(default=None, ge=1, le=1_000_000)
    """GB of host memory, for the same; unset leaves it to Slurm."""
    gpu_memory_gb: float | None = Field(default=None, gt=0, le=1_000_000)
    """GB of memory on each GPU, e.g. 80; `check` compares its estimate with it. Not an sbatch option."""
    time_limit: TimeLimit | None = None
    """Slurm time; defaults: train 24:00:00, evaluate and judge 4:00:00, control 0:30:00."""
    signal_seconds: int | None = Field(default=None, ge=10, le=65_535)
    """Seconds before the time limit at which USR2 tells the job to save and requeue (default 120)."""
    max_parallel_tasks: int | None = Field(default=None, ge=1, le=1_000_000)
    """Tasks of one array that may run at the same time (default: no throttle)."""
    extra: dict[str, Scalar] = {}
    """Any further sbatch option by its long name, e.g. `mail-type: END`; `true` for a bare flag."""

    @field_validator("extra")
    @classmethod
    def _options_are_long_names(cls, extra: dict[str, Scalar]) -> dict[str, Scalar]:
        for name, value in extra.items():
            if not _OPTION.fullmatch(name):
                raise FieldError(name, f"{name!r} is not the long name of an sbatch option")
            if name in _OURS:
                raise FieldError(name, f"{name!r} is set by the harness and cannot be given here")
            one_line(str(value))
        return extra


_OURS = {
    "array", "dependency", "error", "output", "job-name", "nodes", "ntasks", "ntasks-per-node",
    "open-mode", "requeue", "signal", "wrap", "parsable", "time", "export", "gres",
    "gpus-per-node", "cpus-per-task", "mem", "partition", "account", "qos", "constraint",
    "reservation", "exclude",
}  # fmt: skip


class Environment(Frozen):
    """Where a role's programs live: lines that activate an environment, or a container."""

    activate: tuple[Line, ...] = ()
    """Shell lines run before the program, e.g. `source /envs/vllm/bin/activate`."""
    container: Word | None = None
    """Image of a container; then the program runs inside it."""
    runtime: Literal["apptainer", "enroot", "pyxis"] = "apptainer"
    """What runs the container: `apptainer exec`, `enroot start`, or srun's pyxis options."""
    mounts: tuple[Word, ...] = ()
    """Extra folders for the container, `SOURCE:TARGET`; the run folder and the project are always in."""
    variables: dict[VariableName, Line] = {}
    """Environment variables of this role, e.g. `HF_HOME: /scratch/hf`. No secrets: see `secrets`."""

    @field_validator("variables")
    @classmethod
    def _no_secrets(cls, variables: dict[str, str]) -> dict[str, str]:
        for name in variables:
            if SECRET_NAME.search(name):
                text = "looks like a secret; export it in your shell and list it in `secrets`"
                raise FieldError(name, f"{name} {text}")
        return variables

    @model_validator(mode="after")
    def _one_of_two(self) -> Environment:
        if self.container and self.activate and self.runtime == "pyxis":
            raise FieldError(
                "activate", "with pyxis, activate lines run outside the container: give only one"
            )
        return self


class Site(Frozen):
    """One cluster: how jobs are asked for, where programs live, where runs go."""

    scheduler: Literal["auto", "slurm", "local"] = "auto"
    """`auto` takes Slurm where `sbatch` is found, else runs the same scripts on this machine."""
    runs_dir: Location = "runs"
    """Root of all run folders; must be on a file system that every node sees."""
    benchmarks_dir: Location = "~/.cache/harness/benchmarks"
    """Prepared benchmark data; must be on a file system that every node sees."""
    slurm: SlurmOptions = SlurmOptions()
    """sbatch options for every kind of job."""
    jobs: dict[JobKind, SlurmOptions] = {}
    """sbatch options of one kind of job; they override `slurm`."""
    environments: dict[Role, Environment] = {}
    """Per role; a role that is not named uses the Python that submits."""
    secrets: tuple[VariableName, ...] = ("HF_TOKEN", "WANDB_API_KEY")
    """Variables of your shell that jobs may see. Others that look like secrets are kept from them."""

    def options(self, kind: JobKind) -> SlurmOptions:
        """sbatch options of a kind of job: its own over the site's over the defaults.

        A job that has answers judged goes where the control jobs go, unless it has its own.
        """
        merged = dict(_DEFAULTS[kind])
        control = self.jobs.get("control") if kind == "judge" else None
        for source in (self.slurm, control, self.jobs.get(kind)):
            if source is None:
                continue
            given = source.model_dump(exclude_unset=True)
            if source is control:
                given.pop("time_limit", None)
            extra = {**merged.get("extra", {}), **given.pop("extra", {})}  # type: ignore[dict-item]
            # null takes a site's option back, but what a job cannot do without keeps its default.
            merged |= {k: _DEFAULTS[kind].get(k) if v is None else v for k, v in given.items()}
            merged["extra"] = extra
        return SlurmOptions.model_validate(merged)

    def environment(self, role: Role) -> Environment:
        """The environment of a role; an empty one when the site names none."""
        return self.environments.get(role, Environment())


_DEFAULTS: dict[JobKind, dict[str, object]] = {
    "train": {"time_limit": "24:00:00", "cpus_per_gpu": 8, "signal_seconds": 120},
    "evaluate": {"time_limit": "4:00:00", "cpus_per_gpu": 8, "signal_seconds": 120},
    "judge": {"time_limit": "4:00:00", "cpus_per_gpu": 1, "signal_seconds": 60},
    "control": {"time_limit": "0:30:00", "cpus_per_gpu": 1, "signal_seconds": 60},
}
