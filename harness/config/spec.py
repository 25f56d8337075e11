"""One experiment: what is trained, and how each checkpoint is evaluated."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, model_validator

from harness.config.base import FieldError, Frozen
from harness.config.evaluation import EvaluationSpec
from harness.config.training.train import TrainSpec
from harness.errors import nearest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def _run_name(name: str) -> str:
    if not _NAME.fullmatch(name):
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

    @property
    def base_model(self) -> str:
        """The model before training."""
        return self.train.model_name

    @property
    def base_template(self) -> str | None:
        """Template to serve it with: what the checkpoints hold, the base model may not."""
        return self.train.chat_template_path

    @property
    def trained_template(self) -> str | None:
        """Template that its checkpoints were trained with; None: the model's own."""
        return self.train.chat_template_path

    @model_validator(mode="after")
    def _best_needs_evaluation(self) -> Spec:
        if self.train.keep_best is None:
            return self
        if self.evaluation is None:
            text = "best:N needs an evaluation to rank by"
            raise FieldError(("train", "keep_checkpoints"), text)
        metric = self.train.best_metric
        names = [name.partition(":")[0] for name in self.evaluation.benchmarks]
        parts = metric.split("/", 2) if metric is not None else [names[0], "pass@1", "headline"]
        if len(parts) < 3 or parts[0] not in names or not all(parts):
            hint = nearest(parts[0], names) if parts[0] not in names else ""
            raise FieldError(
                ("train", "best_metric"),
                f"{metric}: <benchmark>/<aggregation>/<metric> of one of {', '.join(names)} is "
                f"expected, such as {names[0]}/pass@1/symbolic_correct{hint}",
            )
        return self
