"""One model evaluated as it is, without training: `python -m harness eval`."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from harness.config.base import Frozen
from harness.config.evaluation import EvaluationSpec
from harness.config.spec import RunName


class ExternalServer(Frozen):
    """A server that somebody else runs."""

    address: str
    """`http://host:port/v1`."""
    model: str
    """Its name of the model."""
    api_key_env: str | None = None
    """Environment variable that holds its key; None: it asks for none."""


class EvalSpec(Frozen):
    """What `eval` evaluates; spec.yaml of its run folder."""

    name: RunName
    """Name of the run."""
    model: str
    """The model's folder, absolute; with `external` any name."""
    checkpoint: str = "base"
    """Its name in the table: `checkpoint-<step>` for a marked checkpoint of a run."""
    evaluation: EvaluationSpec
    chat_template: str | None = None
    """A jinja file in place of the model's own template, absolute."""
    external: ExternalServer | None = None
    """Ask this server instead of starting one."""

    @model_validator(mode="after")
    def _nothing_to_choose(self) -> EvalSpec:
        if self.evaluation.checkpoints != "all" or self.evaluation.base_model:
            raise ValueError("checkpoints and base_model are for runs that train")
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
