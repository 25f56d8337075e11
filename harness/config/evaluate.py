"""One model evaluated as it is, without training: `python -m harness eval`."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from harness.config.base import FieldError, Frozen, Location, Word
from harness.config.evaluation import EvaluationSpec
from harness.config.site import VariableName
from harness.config.spec import RunName


class ExternalServer(Frozen):
    """A server that somebody else runs."""

    address: Word
    """`http://host:port/v1`."""
    model: Word
    """Its name of the model."""
    api_key_env: VariableName | None = None
    """Environment variable that holds its key; None: it asks for none."""


class EvalSpec(Frozen):
    """What `eval` evaluates; spec.yaml of its run folder."""

    name: RunName
    """Name of the run."""
    model: Location
    """The model's folder, absolute; with `external` any name."""
    checkpoint: Word = "base"
    """Its name in the table: that of its folder where it tells a step, as any trainer's does."""
    evaluation: EvaluationSpec
    chat_template: Location | None = None
    """A jinja file in place of the model's own template, absolute."""
    external: ExternalServer | None = None
    """Ask this server instead of starting one."""

    @model_validator(mode="after")
    def _nothing_to_choose(self) -> EvalSpec:
        if self.evaluation.checkpoints != "all" or self.evaluation.base_model:
            chosen = "base_model" if self.evaluation.base_model else "checkpoints"
            text = "checkpoints and base_model are for runs that train"
            raise FieldError(("evaluation", chosen), text)
        return self

    @property
    def base_model(self) -> str:
        """The model that is evaluated."""
        return self.model

    @property
    def base_template(self) -> str | None:
        """Template to serve it with; None: its own."""
        return self.chat_template

    @property
    def trained_template(self) -> None:
        """Nothing is known of how it was trained."""

    @property
    def checkpoints(self) -> Path:
        """The folder in which the model lies, where it is a checkpoint."""
        return Path(self.model).parent
