"""How training went: train/log.jsonl -> a picture."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.errors import UserError, printable
from harness.package import needs

Entry = dict[str, Any]
_BLUE, _LIGHT, _RED, _GREEN = "#2f6db5", "#a9c6e6", "#b03030", "#3a7d44"
_SMOOTHED_FROM = 100
"""Points from which on a line is drawn light, with a running mean over it."""


def read_log(path: Path) -> list[Entry]:
    """Entries of a training log in order; lines cut off by an interruption are left out.

    Raises OSError when it cannot be read.
    """
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            entries.append(entry)
    return entries


def series(entries: Sequence[Entry], name: str) -> tuple[list[int], list[float], list[int]]:
    """Steps and values of a field, and the steps where it was NaN or infinite.

    The log has words for those ("nan"); they stay in the values as NaN, so that a line breaks there.
    """
    steps, values, broken = [], [], []
    for entry in entries:
        value = entry.get(name)
        if isinstance(value, str):
            broken.append(entry["step"])
            value = math.nan
        if isinstance(value, int | float):
            steps.append(entry["step"])
            values.append(float(value))
    return steps, values, broken


def restarts(entries: Sequence[Entry]) -> list[int]:
    """The first logged step of each start but the first."""
    known = [e for e in entries if e.get("attempt")]
    pairs = pairwise(known)
    return [after["step"] for before, after in pairs if after["attempt"] != before["attempt"]]


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Mean of the last `width` finite values at each point; NaN before the first."""
    means: list[float] = []
    window: list[float] = []
    for value in values:
        if math.isfinite(value):
            window = [*window[-(width - 1) :], value]
        means.append(sum(window) / len(window) if window else math.nan)
    return means


def plot_training(
    entries: Sequence[Entry], checkpoints: Sequence[int], title: str, path: Path
) -> None:
    """A PNG of loss (and the validation split's), gradient norm, learning rate, tokens/s and MFU against the step.

    Ticks under the loss are complete checkpoints, dashed lines restarts, red crosses values that
    are no numbers. Raises UserError when matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError(f"plots need matplotlib: {needs('report')}") from None
    figure = Figure(figsize=(10, 6.4), layout="constrained", dpi=120)
    axes = figure.subplots(2, 2, sharex=True).ravel()
    panels = (("loss", "loss"), ("grad_norm", "gradient norm"),
              ("learning_rate", "learning rate"), ("tokens_per_second", "tokens/s"))  # fmt: skip
    for axis, (name, label) in zip(axes, panels, strict=True):
        _draw(axis, entries, name, label)
        for number, step in enumerate(restarts(entries)):
            axis.axvline(step, color="#888888", linestyle="--", linewidth=0.9,
                         label="restart" if axis is axes[0] and not number else None)  # fmt: skip
    _validation(axes[0], entries)
    _checkpoints(axes[0], checkpoints)
    _utilisation(axes[3], entries)
    for axis in axes:
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8, framealpha=0.85, loc="best")
    for axis in axes[2:]:
        axis.set_xlabel("optimizer step", fontsize=9)
    figure.suptitle(printable(title, one_line=True), fontsize=11, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.png")
    figure.savefig(temporary)
    os.replace(temporary, path)


def _draw(axis: Any, entries: Sequence[Entry], name: str, label: str) -> None:
    steps, values, broken = series(entries, name)
    finite = [v for v in values if math.isfinite(v)]
    many = len(finite) >= _SMOOTHED_FROM and name != "learning_rate"
    marker = "o" if len(finite) <= 30 else None
    axis.plot(steps, values, color=_LIGHT if many else _BLUE, linewidth=1.0 if many else 1.4,
              marker=marker, markersize=3)  # fmt: skip
    if many:
        width = max(10, len(finite) // 40)
        axis.plot(steps, running_mean(values, width), color=_BLUE, linewidth=1.5,
                  label=f"mean of {width} points")  # fmt: skip
    axis.set_title(label, fontsize=11)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.3)
    if not finite:
        axis.text(0.5, 0.5, "no value", transform=axis.transAxes, ha="center", color="#888888")
    elif name in ("loss", "grad_norm") and min(finite) > 0 and max(finite) > 30 * min(finite):
        axis.set_yscale("log")
    elif name == "tokens_per_second":
        axis.set_ylim(0, 1.12 * max(finite))
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if broken:
        axis.plot(broken, [0.04] * len(broken), "x", color=_RED, clip_on=False, markersize=6,
                  transform=axis.get_xaxis_transform(), label=f"NaN or infinite ({len(broken)})")  # fmt: skip


def _checkpoints(axis: Any, steps: Sequence[int]) -> None:
    if steps:
        axis.plot(steps, [0.0] * len(steps), "^", color=_GREEN, clip_on=False, markersize=5,
                  transform=axis.get_xaxis_transform(),
                  label=f"checkpoint ({len(steps)})")  # fmt: skip


def validation_losses(entries: Sequence[Entry]) -> dict[int, float]:
    """Loss of the validation split by step, of those that are numbers; the newest line of a step."""
    steps, values, _ = series(entries, "eval_loss")
    return {s: v for s, v in zip(steps, values, strict=True) if math.isfinite(v)}


def _validation(axis: Any, entries: Sequence[Entry]) -> None:
    found = validation_losses(entries)
    if found:
        axis.plot(list(found), list(found.values()), color=_GREEN, marker="s", markersize=4,
                  linewidth=1.2, label="validation loss")  # fmt: skip


def _utilisation(axis: Any, entries: Sequence[Entry]) -> None:
    """MFU on a scale of its own, where it is known (it is not on CPU)."""
    steps, values, _ = series(entries, "mfu")
    if not values:
        return
    axis.set_title("tokens/s and MFU", fontsize=11)
    right = axis.twinx()
    right.plot(steps, [100 * v for v in values], color=_GREEN, linewidth=1.0, alpha=0.8)
    right.set_ylim(0, max(60.0, 112 * max(values)))
    right.set_ylabel("MFU (%)", fontsize=9, color=_GREEN)
    right.tick_params(labelsize=8, colors=_GREEN)
