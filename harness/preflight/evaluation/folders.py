"""What an evaluation names by a relative path, made absolute: its jobs may start elsewhere."""

from __future__ import annotations

import os
from typing import TypeVar

from harness.config.base import Frozen
from harness.config.evaluation import EvaluationSpec
from harness.config.load import expand

Section = TypeVar("Section", bound=Frozen)
PLACES = (
    ("judge", "serve", "model"),
    ("lm_eval", "tokenizer"),
    ("lm_eval", "include_path"),
    ("nemo_skills", "data_dir"),
)
"""Fields that hold a folder; a model and a tokenizer may be an id on the Hub instead."""


def resolve_folders(evaluation: EvaluationSpec) -> EvaluationSpec:
    """The same with absolute folders. Raises UserError for a path that cannot be."""
    for place in PLACES:
        evaluation = _with_folder(evaluation, place, f"evaluation.{'.'.join(place)}")
    return evaluation


def _with_folder(section: Section, place: tuple[str, ...], told: str) -> Section:
    name, *below = place
    value = getattr(section, name)
    if value is None:
        return section
    if below:
        changed: object = _with_folder(value, tuple(below), told)
    elif os.path.isdir(os.path.expandvars(os.path.expanduser(value))) or value.startswith(
        (".", "~", "$", "/")
    ):
        changed = str(expand(value, told))
    else:
        return section  # an id on the Hub, or what a check will miss
    return section.model_copy(update={name: changed})
