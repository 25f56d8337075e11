"""Does `output_dir` hold checkpoints of another configuration, from which training would go on."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.chats.digest import rows_digest
from harness.chats.drawing import drawing_digest, drawn_of
from harness.config.training.script import script_arguments
from harness.config.training.train import TrainSpec
from harness.errors import ResultError, UserError
from harness.preflight.findings import Finding, error, note, warning
from harness.runs.checkpoints import read_marker
from harness.runs.configuration import CONFIG, differences
from harness.runs.lease import GONE_S, read_writer
from harness.runs.paths import COMPLETE_MARKER, checkpoint_step
from harness.runs.resume import (
    ROWS,
    BatchFacts,
    newest_complete,
    newest_model_only,
    only_models,
)
from harness.scheduling.writers import is_writing

PLACE = "train.output_dir"
_LENGTH = ("max_steps", "num_train_epochs")
"""What may change for a run to be trained further."""


def check_output(train: TrainSpec, total: int | None) -> list[Finding]:
    """Findings about `train.output_dir`; none where it is the run's own new folder.

    `total` are the steps that this configuration will train, where known.
    """
    if train.output_dir is None:
        return []
    folder = Path(train.output_dir)
    if folder.exists() and not folder.is_dir():
        return [error(PLACE, f"{folder}: is a file")]
    try:
        newest = newest_complete(folder)
        marker = (read_marker(newest) or {}) if newest else {}
    except ResultError as problem:
        return [error(PLACE, str(problem), "Move that checkpoint away, or give another output_dir")]
    findings = [*_writer(folder), *_unmarked(folder)]
    if newest is None:
        if (bare := newest_model_only(folder)) is not None and (
            total is None or (checkpoint_step(bare.name) or 0) < total
        ):
            text, _, cure = only_models(bare).partition("\n")
            findings.append(error(PLACE, text, cure))
        return findings
    changed = _changes(train, marker)
    refused = {name: pair for name, pair in changed.items() if name not in _LENGTH}
    if refused:
        text = f"{folder} holds checkpoints of another configuration, up to {newest.name}: "
        text += "; ".join(f"{name}: {was} -> {now}" for name, (was, now) in refused.items())
        cure = (
            "Give the same values again to go on from it; another output_dir to start anew; or "
            f"another output_dir and model_name: {newest} to train further from its weights"
        )
        return [*findings, error(PLACE, text, cure)]
    findings.append(_resumes(folder, newest, changed, total))
    if CONFIG not in marker:
        text = f"{newest.name} does not say how it was trained: only batch and seed were compared"
        findings.append(warning(PLACE, text, "Another output_dir, unless it is the same run"))
    return findings


def _writer(folder: Path) -> list[Finding]:
    """Another training that writes into the folder now."""
    try:
        writer = read_writer(folder)
    except ResultError as problem:
        return [error(PLACE, str(problem))]
    alive = is_writing(writer) if writer else False
    if alive:
        cure = "Wait until it has ended, or give another output_dir"
        return [error(PLACE, f"{folder}: {writer} writes its checkpoints here", cure)]
    if alive is None:
        text = f"{folder}: {writer} wrote here last; whether it lives cannot be told from here"
        cure = f"Give another output_dir: else training first watches it for {GONE_S:.0f} s"
        return [warning(PLACE, text, cure)]
    return []


def _changes(train: TrainSpec, marker: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What the newest checkpoint's marker says, against this configuration, by name."""
    facts = BatchFacts(
        world_size=train.world_size,
        per_device_train_batch_size=train.per_device_train_batch_size,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        seed=train.seed,
        max_length=train.max_length,
        packing=train.packing,
        parallelism=train.parallelism,
    )
    changed = {
        name: (marker[name], now)
        for name, now in vars(facts).items()
        if name in marker and marker[name] != now
    }
    nowhere = Path(train.output_dir or ".")
    template = Path(train.chat_template_path) if train.chat_template_path else None
    if template is not None and not template.is_file():
        template = None  # said by the check of the template
    if (was := marker.get(ROWS)) is not None:
        with suppress(UserError):  # said by the check of the dataset
            now = _digest(train)
            changed |= {"the rows of dataset_name": (was, now)} if now != was else {}
    arguments = script_arguments(train, nowhere, nowhere, template)
    return changed | differences(marker, arguments)


def _digest(train: TrainSpec) -> str:
    """Of the rows that would be trained. Raises UserError."""
    if isinstance(train.dataset_name, str):
        return rows_digest(Path(train.dataset_name), train.dataset_split)
    return drawing_digest(drawn_of(train.sources), train.seed)


def _resumes(
    folder: Path, newest: Path, changed: dict[str, tuple[Any, Any]], total: int | None
) -> Finding:
    step = checkpoint_step(newest.name) or 0
    if total is not None and step >= total:
        text = f"{folder} already holds {newest.name}: nothing is left to train of {total} steps"
        cure = "Give another output_dir to train again, or more max_steps to train further"
        return warning(PLACE, text, cure)
    text = f"training goes on from {newest.name} in {folder}"
    if changed:
        listed = "; ".join(f"{name}: {was} -> {now}" for name, (was, now) in changed.items())
        text += f", with another length ({listed}), which changes the learning rate's schedule"
        return warning(PLACE, text, "Give another output_dir to start anew")
    return note(PLACE, text)


def _unmarked(folder: Path) -> list[Finding]:
    """Checkpoints without a marker, which training will set aside."""
    names = [
        path.name
        for path in sorted(folder.glob("checkpoint-*"))
        if checkpoint_step(path.name) is not None and read_marker(path) is None
    ]
    if not names:
        return []
    text = (
        f"{folder}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''} without "
        f"{COMPLETE_MARKER}: training renames them to .incomplete and does not go on from them"
    )
    return [warning(PLACE, text, "If they belong to something else, give another output_dir")]
