"""How each checkpoint is evaluated: benchmarks, sampling, the inference server."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from harness.config.backends import LmEvalSpec, NemoSkillsSpec
from harness.config.base import Frozen, TimeLimit


class Sampling(Frozen):
    """How answers are drawn; sent with each request."""

    temperature: float = Field(default=0.6, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Share of probability mass sampled from."""
    max_tokens: int = Field(default=4096, ge=1)
    """Tokens of an answer at most."""
    seed: int = Field(default=0, ge=0)
    """Seed of the first item; each item and repeat has one of its own."""


class ServerSpec(Frozen):
    """The inference server that each evaluation task starts for itself."""

    engine: Literal["vllm", "sglang", "transformers"] = "vllm"
    """`transformers` serves on CPU too, and is meant for that."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share one copy of the model."""
    data_parallel: int = Field(default=1, ge=1)
    """Copies of the model."""
    gpus: int | None = Field(default=None, ge=0)
    """GPUs of a task; unset: tensor_parallel x data_parallel."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Tokens of prompt and answer together; unset: the model's own limit."""
    dtype: Literal["bfloat16", "float16", "float32", "auto"] = "bfloat16"
    """Precision of the weights while serving."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """Share of GPU memory for the engine; unset: the engine's default."""
    reasoning_parser: str | None = None
    """The engine's own name of a parser for thinking blocks."""
    port: int | None = Field(default=None, ge=1024, le=65535)
    """Preferred HTTP port; taken when free. Unset: the engine's usual one."""
    ready_timeout_minutes: float = Field(default=30, gt=0)
    """The server must be proved ready in this time."""
    flags: dict[str, str | int | float | bool] = {}
    """Any further flag of the engine by its long name, e.g. `enable-prefix-caching: true`."""

    @property
    def gpu_count(self) -> int:
        """GPUs that a task asks the scheduler for."""
        return self.tensor_parallel * self.data_parallel if self.gpus is None else self.gpus


class EvaluationSpec(Frozen):
    """Every checkpoint on every benchmark."""

    benchmarks: tuple[str, ...] = Field(min_length=1)
    """Names as `python -m harness prepare --list` prints them."""
    checkpoints: Literal["all", "last"] | tuple[int, ...] = "all"
    """Which checkpoints: all, the last, or these steps."""
    base_model: bool = False
    """Also evaluate the model before training (step 0)."""
    tasks: Literal["per-benchmark", "one"] = "per-benchmark"
    """One array task for each benchmark, or one for all of a checkpoint's."""
    max_items: int | None = Field(default=None, ge=1)
    """Only the first so many items of each benchmark: for trying things out."""
    concurrency: int = Field(default=64, ge=1)
    """Requests under way at once."""
    allow_unsandboxed_code: bool = False
    """Run model-written programs even where there is no sandbox: only in throw-away containers."""
    request_timeout_minutes: float = Field(default=30, gt=0)
    """One answer must come in this time."""
    sampling: Sampling = Sampling()
    server: ServerSpec = ServerSpec()
    nemo_skills: NemoSkillsSpec = NemoSkillsSpec()
    lm_eval: LmEvalSpec = LmEvalSpec()
    time_limit: TimeLimit | None = None
    """Slurm time of a task; overrides the site's."""

    @field_validator("benchmarks")
    @classmethod
    def _each_once(cls, benchmarks: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in benchmarks if benchmarks.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return benchmarks
