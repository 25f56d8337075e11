"""An inference server: engine, parallel sizes, limits."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from harness.config.base import Frozen, Minutes, Word, one_of
from harness.config.engines import DEFAULT, ENGINES, EngineKind, flag_word

EngineName = Annotated[str, one_of(ENGINES)]
_FLAG = re.compile(r"[A-Za-z][\w-]*(\.\w[\w-]*)*")


def check_flag_name(name: str) -> str:
    """The name of a flag as it is. Raises ValueError where it can be none."""
    if name.startswith("-") and _FLAG.fullmatch(name.lstrip("-")):
        raise ValueError(f"a flag is named without its dashes: {name.lstrip('-')}")
    if not _FLAG.fullmatch(name):
        raise ValueError("a flag's long name is expected, e.g. max-num-seqs")
    return name


def _one_value(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise ValueError(
            "a text, a number, true or false is expected; JSON is given as text in quotes, several "
            "values as a text with blanks between them"
        )
    return value


FlagName = Annotated[str, AfterValidator(check_flag_name)]
FlagValue = Annotated[str | int | float | bool, BeforeValidator(_one_value)]


class ServerSpec(Frozen):
    """An inference server: each evaluation task starts one for itself, and so does `serve`."""

    engine: EngineName = DEFAULT
    """`transformers` serves on CPU too, and is meant for that."""
    tensor_parallel: int | None = Field(default=None, ge=1)
    """GPUs that share one copy of the model; unset: vllm 8, others 1 (and 1 with `gpus: 0`)."""
    data_parallel: int | None = Field(default=None, ge=1)
    """Copies of the model; unset: sglang 4, others 1 (and 1 with `gpus: 0`)."""
    gpus: int | None = Field(default=None, ge=0)
    """GPUs of a task; unset: tensor_parallel x data_parallel."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Tokens of prompt and answer together; unset: 32768, or the model's limit where lower."""
    dtype: Literal["bfloat16", "float16", "float32", "auto"] = "bfloat16"
    """Precision of the weights while serving."""
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    """Share of GPU memory for the engine; unset: the engine's default."""
    reasoning_parser: Word | None = None
    """The engine's own name of a parser for thinking blocks."""
    port: int | None = Field(default=None, ge=1024, le=65535)
    """Preferred HTTP port; taken when free. Unset: vllm 12738, others 8000."""
    ready_timeout_minutes: Minutes = 30
    """The server must be proved ready in this time."""
    restarts: int = Field(default=1, ge=0)
    """How often a task starts its server again when it dies or hangs; answers so far are kept."""
    flags: dict[FlagName, FlagValue] = {}
    """Any further flag of the engine by its long name, e.g. `enable-prefix-caching: true`."""

    @property
    def kind(self) -> EngineKind:
        """The engine's row in the table: its sizes where nothing is set, and what it can do."""
        return ENGINES[self.engine]

    @property
    def tensor_parallel_size(self) -> int:
        """GPUs for one copy of the model."""
        usual = 1 if self.gpus == 0 else self.kind.tensor_parallel
        return usual if self.tensor_parallel is None else self.tensor_parallel

    @property
    def data_parallel_size(self) -> int:
        """Copies of the model."""
        usual = 1 if self.gpus == 0 else self.kind.data_parallel
        return usual if self.data_parallel is None else self.data_parallel

    @property
    def gpu_count(self) -> int:
        """GPUs that a task asks the scheduler for."""
        if self.gpus is not None:
            return self.gpus
        return self.tensor_parallel_size * self.data_parallel_size

    def reads_seeds(self, concurrency: int) -> bool:
        """Whether a request's seed decides its answer, with so many requests under way at once."""
        on = {flag_word(name) for name, value in self.flags.items() if value is not False}
        if self.kind.seed_flags and not on & set(self.kind.seed_flags):
            return False
        return concurrency == 1 or not self.kind.seeds_alone

    def context(self, model_limit: int | None) -> int | None:
        """Tokens of prompt and answer that a model of this limit is served with.

        None: the engine has no such setting, so the model's own limit holds.
        """
        if self.max_model_len is not None or self.kind.max_model_len is None:
            return self.max_model_len
        return min(self.kind.max_model_len, model_limit or self.kind.max_model_len)
