"""An inference server: engine, parallel sizes, limits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.config.base import Frozen


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
