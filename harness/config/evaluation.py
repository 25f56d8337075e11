"""How each checkpoint is evaluated: benchmarks, sampling, the inference server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from harness.config.backends import LmEvalSpec, NemoSkillsSpec
from harness.config.base import Frozen, Minutes, TimeLimit, Word
from harness.config.endpoint import Body, token_limit
from harness.config.gates import GatesSpec
from harness.config.judge import JudgeSpec
from harness.config.server import ServerSpec


class Sampling(Frozen):
    """How answers are drawn; sent with each request."""

    temperature: float = Field(default=0.6, ge=0)
    """0 is greedy."""
    by_category: bool = True
    """Where a benchmark names a temperature for each category (mt-bench), that one is taken."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Share of probability mass sampled from."""
    max_tokens: int = Field(default=4096, ge=1)
    """Tokens of an answer at most."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Seed of the first item; each item and repeat has one of its own."""


Steps = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]


class EvaluationSpec(Frozen):
    """Every checkpoint on every benchmark."""

    benchmarks: tuple[Word, ...] = Field(min_length=1)
    """Names as `python -m harness prepare --list` prints them."""
    checkpoints: Literal["all", "last"] | Steps = "all"
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
    request_timeout_minutes: Minutes = 30
    """One answer must come in this time."""
    sampling: Sampling = Sampling()
    body: Body = {}
    """Further fields of each request, e.g. `chat_template_kwargs: {enable_thinking: false}`. null
    leaves one of ours out: `{max_tokens: null, max_completion_tokens: 512}`."""
    gates: GatesSpec = GatesSpec()
    server: ServerSpec = ServerSpec()
    judge: JudgeSpec | None = None
    """Who judges the answers of mt-bench and arena-hard."""
    nemo_skills: NemoSkillsSpec = NemoSkillsSpec()
    lm_eval: LmEvalSpec = LmEvalSpec()
    time_limit: TimeLimit | None = None
    """Slurm time of a task; overrides the site's."""

    @property
    def recorded_sampling(self) -> dict[str, Any]:
        """Sampling as a result records it: without a seed where the engine does not read it."""
        asked = self.sampling.model_dump()
        return asked if self.reads_seeds else {**asked, "seed": None}

    @property
    def reads_seeds(self) -> bool:
        """Whether the seed of a request decides its answer."""
        return self.server.reads_seeds(self.concurrency)

    @field_validator("benchmarks")
    @classmethod
    def _each_once(cls, benchmarks: tuple[str, ...]) -> tuple[str, ...]:
        words: dict[str, list[str]] = {}
        for word in benchmarks:
            words.setdefault(word.partition(":")[0], []).append(word)
        twice = [
            each[0] if len(set(each)) == 1 else f"{name} ({', '.join(each)})"
            for name, each in sorted(words.items())
            if len(each) > 1
        ]
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return benchmarks

    @property
    def answer_tokens(self) -> int | None:
        """Tokens of an answer at most; None: requests leave it to the server."""
        return token_limit(self.sampling.max_tokens, self.body)
