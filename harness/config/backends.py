"""Options of the evaluators that are programs of their own: NeMo-Skills and lm-eval."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from harness.config.base import Frozen

Scalar = str | int | float | bool


def _long_options(options: dict[str, Scalar], ours: frozenset[str]) -> dict[str, Scalar]:
    for name in options:
        if name.startswith("-") or not name.replace("-", "_").isidentifier():
            raise ValueError(f"{name!r} is not the long name of an option (no leading dashes)")
        if name.replace("-", "_") in ours:
            raise ValueError(f"{name} is set by the harness and cannot be given here")
    return options


class NemoSkillsSpec(Frozen):
    """How `ns eval` is called for benchmarks named `nemo-skills.<benchmark>`."""

    overrides: tuple[str, ...] = ()
    """Hydra overrides as `ns eval` takes them, e.g. `++prompt_config=generic/math`; they win."""
    options: dict[str, Scalar] = {}
    """Further options of `ns eval` by long name, e.g. `split: test`; `true` for a bare flag."""
    chunks: int | None = Field(default=None, ge=1)
    """Parts in which ns asks each set of answers; unset: the benchmark's own number."""
    data_dir: str | None = None
    """Where `ns prepare_data` put the data; unset: inside the installed package."""
    timeout_hours: float = Field(default=3.5, gt=0)
    """ns waits for ever for what never comes; after so many hours its cell has failed."""

    @field_validator("overrides")
    @classmethod
    def _are_overrides(cls, overrides: tuple[str, ...]) -> tuple[str, ...]:
        for text in overrides:
            name, equals, _ = text.lstrip("+~").partition("=")
            if not (text.startswith("~") or (equals and name)) or any(ord(c) < 32 for c in text):
                raise ValueError(f"{text!r} is no override; ++FIELD=VALUE is expected")
            if name in ("max_samples", "server.model", "server.base_url", "server.server_type"):
                raise ValueError(f"{name} is set by the harness and cannot be given here")
        return overrides

    @field_validator("options")
    @classmethod
    def _are_options(cls, options: dict[str, Scalar]) -> dict[str, Scalar]:
        return _long_options(options, _NS_OURS)


_NS_OURS = frozenset(
    ["output_dir", "benchmarks", "model", "server_type", "server_address", "server_gpus",
     "cluster", "data_dir", "num_chunks", "expname"]
)  # fmt: skip


class LmEvalSpec(Frozen):
    """How lm-evaluation-harness is called for benchmarks named `lm-eval.<task>`."""

    api: Literal["chat", "completions"] = "chat"
    """`chat` asks /v1/chat/completions, for tasks that generate. `completions` asks
    /v1/completions with the model's tokenizer, which tasks that score choices by their
    likelihood need; the server must return prompt log-probabilities (vLLM does)."""
    tokenizer: str | None = None
    """Folder or Hub id of the tokenizer that `completions` takes; unset: the evaluated model's
    own, which `--server-address` has where MODEL is a folder."""
    include_path: str | None = None
    """Folder of task files beside lm-eval's own."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Examples in each prompt; unset: the task's own number."""
    options: dict[str, Scalar] = {}
    """Further options of `lm-eval run` by long name, e.g. `gen_kwargs: temperature=0.6`."""
    timeout_hours: float = Field(default=3.5, gt=0)
    """After so many hours its cell has failed."""

    @field_validator("options")
    @classmethod
    def _are_options(cls, options: dict[str, Scalar]) -> dict[str, Scalar]:
        return _long_options(options, _LM_EVAL_OURS)


_LM_EVAL_OURS = frozenset(
    ["tasks", "model", "model_args", "limit", "output_path", "log_samples", "include_path",
     "num_fewshot", "use_cache", "config"]
)  # fmt: skip
