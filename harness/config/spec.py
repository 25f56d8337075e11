"""One experiment: what is trained, and how each checkpoint is evaluated."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from harness.config.base import Frozen
from harness.config.evaluation import EvaluationSpec
from harness.config.train import TrainSpec

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")


def _run_name(name: str) -> str:
    if not _NAME.match(name):
        raise ValueError(
            "letters, digits, '.', '_' and '-' only, starting with a letter or digit, at most 80"
        )
    return name


RunName = Annotated[str, AfterValidator(_run_name)]


class Spec(Frozen):
    """One experiment, as `jobs/*.yaml` describes it."""

    name: RunName
    """Name of the run; unset: the file's own."""
    train: TrainSpec
    evaluation: EvaluationSpec | None = None
    """Unset: train only."""
