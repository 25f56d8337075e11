"""Are the layers that an adapter is for in the model: its names against the safetensors headers.

PEFT ignores a name of a list that no layer has, as long as another one is there; a text is one
regular expression for a layer's whole name (peft 0.19, tuners_utils.check_target_module_exists).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.config.training.lora import ALL_LINEAR
from harness.config.training.train import TrainSpec
from harness.errors import ResultError, nearest, quoted
from harness.preflight.findings import Finding, error, warning
from harness.runs.models.shape import tensor_shapes

_TARGETS, _SAVED = "train.lora_target_modules", "train.lora_modules_to_save"
_HEAD = "lm_head"


def check_adapter(train: TrainSpec, folder: Path | None) -> list[Finding]:
    """Findings about the layers that `use_peft` names; none where the weights are not here."""
    try:
        shapes = tensor_shapes(folder) if train.use_peft and folder else {}
    except ResultError:
        return []  # said by the check of the model
    if not shapes:
        return []
    layers = {
        n.removesuffix(".weight") for n, s in shapes.items() if n.endswith(".weight") and s[1:]
    }
    # Experts are fused as the model is loaded, and have other names then.
    say = warning if any(".experts." in name for name in layers) else error
    found: list[Finding] = []
    targets = train.lora_target_modules
    if isinstance(targets, tuple):
        found += _unknown(_TARGETS, targets, layers | {_HEAD}, say)
        if any(name.rpartition(".")[2] == _HEAD for name in targets):
            text = f"{_HEAD} cannot have an adapter: TRL reads its weight directly"
            found.append(error(_TARGETS, text, f"lora_modules_to_save: [{_HEAD}] trains it whole"))
    elif targets is not None and targets != ALL_LINEAR:
        found += _pattern(targets, layers, say)
    if train.lora_modules_to_save:
        parts = {n[: m.start()] for n in shapes for m in re.finditer(r"\.|$", n)} | {_HEAD}
        found += _unknown(_SAVED, train.lora_modules_to_save, parts, say)
    return found


def _unknown(
    place: str, names: Iterable[str], layers: set[str], say: Callable[[str, str, str], Finding]
) -> list[Finding]:
    """Names that no layer has."""
    known = _last_names(layers)
    return [
        say(
            place,
            f"no layer of the model is named {quoted(name)!r}{nearest(name.rpartition('.')[2], known)}",
            f"It has: {', '.join(known)}",
        )
        for name in names
        if name not in layers and not any(layer.endswith(f".{name}") for layer in layers)
    ]


def _pattern(
    pattern: str, layers: set[str], say: Callable[[str, str, str], Finding]
) -> list[Finding]:
    shown = quoted(pattern)
    try:
        expression = re.compile(pattern)
    except re.error as problem:
        text = f"{shown!r} is no name, and no regular expression: {problem}"
        return [error(_TARGETS, text, "Give a list of names, e.g. [q_proj, v_proj]")]
    # The model that is trained may hold the saved one in a `model.`, or the other way round.
    tried = (t for n in layers for t in (n, f"model.{n}", n.removeprefix("model.")))
    if any(expression.fullmatch(name) for name in tried):
        return []
    text = f"{shown!r}, a regular expression for a layer's whole name, matches none"
    return [
        say(_TARGETS, text, f"Give a list of names; there are {', '.join(_last_names(layers))}")
    ]


def _last_names(layers: set[str]) -> list[str]:
    """What tells kinds of layers apart: the last part of their names, without numbers."""
    return sorted({last for n in layers if not (last := n.rpartition(".")[2]).isdecimal() and last})
