"""How many steps and checkpoints there will be, and how long they take."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median

from harness.config.base import minutes
from harness.config.site import Site
from harness.config.spec import Spec
from harness.config.training.train import TrainSpec
from harness.errors import HarnessError
from harness.plan.steps import planned_steps, process_batches, total_steps
from harness.preflight.findings import Finding, error, note, warning
from harness.preflight.rows.tokens import Sample
from harness.preflight.training.packing import estimate
from harness.runs.paths import find_runs
from harness.runs.reader import RunReader

_SPEED_FIELDS = (
    "model_name", "max_length", "packing", "bf16", "model_dtype", "gradient_checkpointing",
    "per_device_train_batch_size", "gradient_accumulation_steps", "use_cpu", "nodes",
    "gpus_per_node", "cpu_processes", "parallelism", "use_peft",
)  # fmt: skip
"""What must be the same for steps to take as long."""


def fix_steps(
    train: TrainSpec, rows: int | None, sample: Sample | None
) -> tuple[TrainSpec, list[Finding]]:
    """With packing and no `max_steps`: the spec with `max_steps` from the sample, and a note.

    How rows pack is known only once all are tokenised; a fixed number makes the plan, the learning
    rate's schedule and the checkpoints exact, and the passes over the data approximate.
    """
    if train.max_steps is not None or not train.packing or not rows or not sample:
        return train, []
    if not sample.lengths:
        return train, []
    used = min(rows, train.max_samples)
    if len(sample.good) == rows:  # all of them: as TRL packs them, in row order
        sample = Sample(dict(sorted(sample.rows.items())), sample.of)
    split = train.sft.get("packing_strategy") == "bfd_split"
    packed = estimate(sample.lengths, used, train.max_length, split)
    unpacked = train.model_copy(update={"packing": False, "max_samples": packed.sequences})
    steps = total_steps(unpacked, packed.sequences)
    text = (
        f"fixed at {steps:,}: {used:,} rows pack into about {packed.sequences:,} sequences "
        f"(± {packed.share:.1%}, {packed.rows_per_sequence:.1f} rows each, {packed.fill:.1%} full), "
        f"so that this is {train.num_train_epochs:g} epochs within ± {packed.share:.1%}; "
        "set it to choose another"
    )
    return train.model_copy(update={"max_steps": steps}), [note("train.max_steps", text)]


def check_steps(train: TrainSpec, rows: int | None, sample: Sample | None = None) -> list[Finding]:
    """Steps, checkpoints and global batch, and what `max_steps` means in epochs."""
    if train.max_steps is None and (train.packing or rows is None):
        return []  # the plan says that they are unknown
    total = total_steps(train, rows)
    steps = planned_steps(train, total)
    batch = train.per_device_train_batch_size * train.gradient_accumulation_steps * train.world_size
    text = f"{total:,} steps of {batch:,} sequences"
    tokens = _tokens_per_sequence(train, sample)
    if tokens is not None:
        text += f" (about {batch * tokens:,.0f} tokens)"
    shown = [*steps[:2], "…", steps[-1]] if len(steps) > 3 else steps
    text += f"; {len(steps)} checkpoints: {', '.join(map(str, shown))}"
    findings = [note("train", text)]
    if rows is not None and not train.packing and process_batches(train, rows) == 0:
        used = min(rows, train.max_samples)
        text = f"not one whole batch of {train.per_device_train_batch_size} rows for each of "
        text += f"{train.world_size} processes in {used} rows: nothing would be trained"
        cure = "Leave it out, or lower per_device_train_batch_size"
        return [error("train.dataloader_drop_last", text, cure)]
    if train.max_steps is None or rows is None or train.packing:
        return findings
    per_epoch = total_steps(
        train.model_copy(update={"max_steps": None, "num_train_epochs": 1}), rows
    )
    epochs = train.max_steps / per_epoch
    if abs(epochs - train.num_train_epochs) >= 0.01:
        text = (
            f"{train.max_steps} steps are {epochs:.2f} epochs of {rows} rows; "
            "max_steps overrides num_train_epochs"
        )
        findings.append(note("train.max_steps", text))
    return findings


def _tokens_per_sequence(train: TrainSpec, sample: Sample | None) -> float | None:
    """Tokens, without padding, of a sequence."""
    if not sample or not sample.lengths:
        return None
    if train.packing:
        return train.max_length * estimate(sample.lengths, sample.of, train.max_length).fill
    return sum(min(n, train.max_length) for n in sample.lengths) / len(sample.lengths)


def check_time(spec: Spec, site: Site, total: int) -> list[Finding]:
    """The time that training takes, by earlier runs of this name, against its time limit."""
    limit = spec.train.time_limit or site.options("train").time_limit
    assert limit  # has a default
    speed, origin = known_speed(spec, Path(site.runs_dir))
    if not speed:
        text = f"how long {total:,} steps take is unknown: no earlier run of {spec.name} like this"
        return [note("train.time_limit", text)]
    hours, limit_hours = total / speed / 3600, minutes(limit) / 60
    text = f"about {hours:.1f} h at {speed:.3g} steps/s ({origin})"
    if hours <= 0.9 * limit_hours:
        return [note("train.time_limit", f"{text}; the limit is {limit}")]
    requeues = max(math.ceil(hours / limit_hours) - 1, 1)
    text += f"; with a limit of {limit} it is requeued and resumed about {requeues} times"
    checkpoint_hours = spec.train.save_steps / speed / 3600
    if checkpoint_hours > limit_hours:
        text += f", and save_steps are {checkpoint_hours:.1f} h apart"
        return [warning("train.time_limit", text, "Lower save_steps, so that a crash loses less")]
    return [note("train.time_limit", text)]


def known_speed(spec: Spec, runs_dir: Path) -> tuple[float | None, str]:
    """Median steps per second of the newest earlier run of this name with the same shape."""
    for run in reversed(find_runs(runs_dir)):
        if run.name != spec.name or not run.train_log.is_file():
            continue
        try:
            earlier = RunReader(run).train
        except HarnessError:
            continue  # written by another version
        if any(getattr(earlier, f, None) != getattr(spec.train, f, None) for f in _SPEED_FIELDS):
            continue
        speeds = _speeds(run.train_log)
        if speeds:
            return median(speeds), f"run {run.run_id}"
    return None, ""


def _speeds(log: Path) -> list[float]:
    """steps_per_second of a log's lines; the first, which warms up, only where it is alone."""
    speeds = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            speeds.append(float(json.loads(line)["steps_per_second"]))
        except (ValueError, KeyError, TypeError):
            continue  # cut off by an interruption
    usable = [speed for speed in speeds[1:] or speeds if speed > 0]
    return usable
