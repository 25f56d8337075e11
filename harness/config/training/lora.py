"""LoRA's own fields of `train`; the names, meanings and defaults are TRL's and PEFT's."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, model_validator

from harness.config.base import FieldError, Frozen, Word

ALL_LINEAR = "all-linear"
"""PEFT's word for every linear layer but the LM head."""
LORA_DEFAULTS: dict[str, Any] = {
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "lora_target_modules": ALL_LINEAR,
    "lora_modules_to_save": None,
    "lora_target_parameters": None,
    "use_rslora": False,
    "use_dora": False,
}
"""What `use_peft: true` trains with, where a field is unset."""

LEARNING_RATE = 2e-5
LORA_LEARNING_RATE = 1e-4
"""Peak learning rates where none is given: an adapter starts from nothing."""


_NAMES = re.compile(r"[\w.-]+(\s*[,\s]\s*[\w.-]+)*")


def target_names(value: Any) -> Any:
    """Target modules as they are meant: `q_proj,v_proj` and `q_proj` are names, not PEFT's patterns.

    PEFT matches a text as one regular expression against a layer's whole name. What holds more than
    names is left such an expression.
    """
    if isinstance(value, str):
        if value.strip().lower() == ALL_LINEAR:
            return ALL_LINEAR
        return tuple(re.split(r"[,\s]+", value)) if _NAMES.fullmatch(value) else value
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        return value
    if len(value) == 1:  # TRL takes a list of one for the text in it
        return target_names(value[0])
    parts = [target_names(item) for item in value]
    return tuple(n for part in parts for n in ([part] if isinstance(part, str) else part))


class LoraFields(Frozen):
    """Train an adapter instead of all weights; evaluation serves the two merged."""

    use_peft: bool = False
    """Train a LoRA adapter (`lora_*` below) and leave the model's own weights as they are."""
    lora_r: int | None = Field(default=None, ge=1)
    """Rank; default 16."""
    lora_alpha: int | None = Field(default=None, ge=1)
    """The adapter is scaled by alpha / r; default 32."""
    lora_dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout before the adapter; default 0.05."""
    lora_target_modules: Word | tuple[Word, ...] | None = None
    """Names of the linear layers that get an adapter, e.g. [q_proj, v_proj]; or a regular expression
    for their whole names; default all-linear."""
    lora_modules_to_save: tuple[Word, ...] | None = None
    """Modules that are trained whole beside the adapter, e.g. [lm_head]; default none."""
    lora_target_parameters: tuple[Word, ...] | None = None
    """Parameters outside linear layers that get an adapter (fused experts); default none."""
    use_rslora: bool | None = None
    """Scale by alpha / sqrt(r) instead; default false."""
    use_dora: bool | None = None
    """Weight-decomposed LoRA; default false."""

    @model_validator(mode="before")
    @classmethod
    def _fill_lora(cls, data: Any) -> Any:
        """With `use_peft`, unset fields get LoRA's defaults, the learning rate among them."""
        if isinstance(data, dict) and "lora_target_modules" in data:
            data = {**data, "lora_target_modules": target_names(data["lora_target_modules"])}
        if not isinstance(data, dict) or data.get("use_peft") is not True:
            return data
        filled = {name: value for name, value in LORA_DEFAULTS.items() if data.get(name) is None}
        return {"learning_rate": LORA_LEARNING_RATE, **data, **filled}

    @model_validator(mode="after")
    def _only_with_peft(self) -> LoraFields:
        given = [name for name in LORA_DEFAULTS if getattr(self, name) is not None]
        if given and not self.use_peft:
            text = f"{', '.join(given)} without use_peft: set use_peft: true"
            raise FieldError(given[0], text)
        return self
