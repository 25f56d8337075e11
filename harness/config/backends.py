"""Options of the evaluators that are programs of their own: NeMo-Skills and lm-eval."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from harness.config.base import FieldError, Frozen, Hours, Line, Location, Scalar, one_line

_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_OVERRIDE = re.compile(r"(~|\+{0,2})([A-Za-z_][A-Za-z0-9_.-]*)(?:[@/][A-Za-z0-9_@/.-]+)?(=.*)?")
"""Hydra's `[+|++|~]KEY[@PACKAGE][=VALUE]`, one line without blanks around the key (Hydra 1.3)."""


def _long_options(options: dict[str, Scalar], ours: frozenset[str]) -> dict[str, Scalar]:
    for name, value in options.items():
        if not _OPTION.fullmatch(name):
            raise FieldError(
                name, f"{name!r} is not the long name of an option (no leading dashes)"
            )
        spelt = name.replace("-", "_")
        if spelt in ours:
            raise FieldError(name, f"{name} is set by the harness and cannot be given here")
        one_line(str(value))
        if any(word.startswith("--") for word in str(value).split()):
            raise FieldError(name, f"holds another option (got {value!r}); give each by its name")
    return options


class NemoSkillsSpec(Frozen):
    """How `ns eval` is called for benchmarks named `nemo-skills.<benchmark>`."""

    overrides: tuple[Line, ...] = ()
    """Hydra overrides as `ns eval` takes them, e.g. `++prompt_config=generic/math`; they win."""
    options: dict[str, Scalar] = {}
    """Further options of `ns eval` by long name, e.g. `split: test`; `true` for a bare flag."""
    chunks: int | None = Field(default=None, ge=1)
    """Parts in which ns asks each set of answers; unset: the benchmark's own number."""
    data_dir: Location | None = None
    """Where `ns prepare_data` put the data; unset: inside the installed package."""
    timeout_hours: Hours = 3.5
    """ns waits for ever for what never comes; after so many hours its cell has failed."""

    @field_validator("overrides")
    @classmethod
    def _are_overrides(cls, overrides: tuple[str, ...]) -> tuple[str, ...]:
        for index, text in enumerate(overrides):
            match = _OVERRIDE.fullmatch(text)
            if match is None or not (match[1] == "~" or match[3]):
                raise FieldError(index, f"{text!r} is no override; ++FIELD=VALUE is expected")
            if match[2] in _NS_FIELDS:
                raise FieldError(
                    index, f"{match[2]} is set by the harness and cannot be given here"
                )
        return overrides

    @field_validator("options")
    @classmethod
    def _are_options(cls, options: dict[str, Scalar]) -> dict[str, Scalar]:
        return _long_options(options, _NS_OURS)


_NS_FIELDS = ("max_samples", "server", "server.model", "server.base_url", "server.server_type")
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
    tokenizer: Location | None = None
    """Folder or Hub id of the tokenizer that `completions` takes; unset: the evaluated model's
    own, which `--server-address` has where MODEL is a folder."""
    include_path: Location | None = None
    """Folder of task files beside lm-eval's own."""
    num_fewshot: int | None = Field(default=None, ge=0)
    """Examples in each prompt; unset: the task's own number."""
    options: dict[str, Scalar] = {}
    """Further options of `lm-eval run` by long name, e.g. `gen_kwargs: temperature=0.6`."""
    timeout_hours: Hours = 3.5
    """After so many hours its cell has failed."""

    @field_validator("options")
    @classmethod
    def _are_options(cls, options: dict[str, Scalar]) -> dict[str, Scalar]:
        for name in _long_options(options, _LM_EVAL_OURS):
            longer = [k for k in sorted(_LM_EVAL_OURS) if k.startswith(name.replace("-", "_"))]
            if longer:  # as argparse completes what is abbreviated
                text = f"{name} may be taken for {longer[0]}, which is set by the harness"
                raise FieldError(name, f"{text}; give the option's whole name")
        return options


_LM_EVAL_OURS = frozenset(
    ["tasks", "model", "model_args", "limit", "output_path", "log_samples", "include_path",
     "num_fewshot", "use_cache", "config", "samples"]
)  # fmt: skip
