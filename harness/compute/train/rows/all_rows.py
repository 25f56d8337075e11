"""All rows of a training: those that are trained, and those whose loss is measured beside it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

from datasets import Dataset

from harness.chats.drawing import held_out
from harness.compute.train.arguments import ScriptArguments, TrainingConfig
from harness.compute.train.rows.dataset import open_rows
from harness.compute.train.rows.tokenised import tokenised_rows
from harness.compute.train.stop import StopRequest
from harness.config.training.sources import to_text

_ALL = 10**12


@dataclass(frozen=True)
class Rows:
    """As they were saved, and as they were tokenised."""

    raw: Dataset
    tokenised: Dataset
    raw_validation: Dataset | None = None
    validation: Dataset | None = None


def all_rows(
    script: ScriptArguments, config: TrainingConfig, request: StopRequest, argv: Sequence[str]
) -> Rows | None:
    """Opened, and tokenised where they were not; None when told to stop meanwhile.

    `argv` are this script's arguments. Raises UserError and TrainingError as `tokenised_rows` does.
    """
    raw = _raw(script)
    tokenised = tokenised_rows(script, config, request, argv)
    if tokenised is None:
        return None
    if script.eval_split is None:
        return Rows(raw, tokenised)
    other, as_validation = validation_arguments(script, config)
    raw_validation = _raw(other)
    validation = tokenised_rows(other, as_validation, request,
                                validation_argv(script, config, argv))  # fmt: skip
    return None if validation is None else Rows(raw, tokenised, raw_validation, validation)


def validation_arguments(
    script: ScriptArguments, config: TrainingConfig
) -> tuple[ScriptArguments, TrainingConfig]:
    """Arguments by which the rows of `eval_split` are tokenised as those of training: all of them."""
    changed = copy.copy(config)
    changed.packing = validation_packing(config)
    split = str(script.eval_split)
    others = replace(
        script, dataset_split=split, dataset_sources=_held_out(script), max_samples=_ALL
    )
    return others, changed


def _held_out(script: ScriptArguments) -> str | None:
    """Of a list the sets that have `eval_split`, as an argument."""
    if script.dataset_sources is None:
        return None
    return to_text(held_out(script.sources, str(script.eval_split)))


def _raw(script: ScriptArguments) -> Dataset:
    """Rows as they were saved: SFTTrainer looks at the first one."""
    first = script.sources[0]
    return open_rows(first.path, str(first.split))


def validation_argv(
    script: ScriptArguments, config: TrainingConfig, argv: Sequence[str]
) -> list[str]:
    """The same for a command line, on which the last word counts."""
    packing, text = str(validation_packing(config)), _held_out(script)
    sources = [] if text is None else ["--dataset_sources", text]
    return [*argv, *sources, "--dataset_split", str(script.eval_split), "--max_samples", str(_ALL),
            "--packing", packing]  # fmt: skip


def validation_packing(config: TrainingConfig) -> bool:
    """Whether rows of `eval_split` are packed: as TRL decides it."""
    return bool(config.packing if config.eval_packing is None else config.eval_packing)
