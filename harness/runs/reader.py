"""The files of a run, each read once: made for one command or one look, and handed down."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from harness.config.evaluate import EvalSpec, ExternalServer
from harness.config.evaluation import EvaluationSpec
from harness.config.load import load_run_spec, load_site
from harness.config.serve import ServeSpec
from harness.config.site import Site
from harness.config.spec import Spec
from harness.config.training.train import TrainSpec
from harness.errors import ResultError
from harness.runs.checkpoints import complete_checkpoints, read_marker
from harness.runs.metrics import TaskRecord, read_task
from harness.runs.paths import RunPaths
from harness.runs.written import read_written


class RunReader:
    """What a run's own files say, as they were when first asked for.

    Every look-up raises ResultError (a file that is unreadable) or UserError (spec and site).
    """

    def __init__(self, run: RunPaths) -> None:
        self.run = run
        self._markers: dict[str, dict[str, Any] | None] = {}

    @cached_property
    def spec(self) -> Spec | EvalSpec | ServeSpec:
        """spec.yaml: a run that trains, one of `eval`, or one of `serve`."""
        return load_run_spec(self.run.spec)

    @property
    def evaluated(self) -> Spec | EvalSpec:
        """The spec of a run that evaluates, or may. Raises ResultError for one of `serve`."""
        if isinstance(self.spec, ServeSpec):
            raise ResultError(f"{self.run.root}: a served model: it is not evaluated")
        return self.spec

    @property
    def evaluation(self) -> EvaluationSpec:
        """What the spec says of evaluation. Raises ResultError where it says nothing."""
        if self.evaluated.evaluation is None:
            raise ResultError(f"{self.run.spec}: no `evaluation` in it")
        return self.evaluated.evaluation

    @property
    def train(self) -> TrainSpec | None:
        """What the spec says of training; None of a run that does not train."""
        return self.spec.train if isinstance(self.spec, Spec) else None

    @property
    def external(self) -> ExternalServer | None:
        """The server elsewhere that is evaluated; None where the run starts its own."""
        return self.spec.external if isinstance(self.spec, EvalSpec) else None

    @property
    def served(self) -> ServeSpec | None:
        """The spec of a run of `serve`; None of another."""
        return self.spec if isinstance(self.spec, ServeSpec) else None

    @cached_property
    def site(self) -> Site:
        """site.yaml."""
        return load_site(self.run.site)

    @cached_property
    def checkpoints_dir(self) -> Path:
        """Where the run's training writes checkpoints, or its evaluated checkpoint lies."""
        if isinstance(self.spec, EvalSpec):
            return self.spec.checkpoints
        output_dir = self.train.output_dir if self.train else None
        return Path(output_dir) if output_dir else self.run.checkpoints

    @cached_property
    def complete(self) -> dict[int, Path]:
        """Marked checkpoints by step, in order of steps."""
        return complete_checkpoints(self.checkpoints_dir)

    @cached_property
    def evaluable(self) -> frozenset[str]:
        """Names of the checkpoints that are there: marked ones, and the model that `eval` was given."""
        names = {path.name for path in self.complete.values()}
        if isinstance(self.spec, EvalSpec) and (self.external or Path(self.spec.model).is_dir()):
            names.add(self.spec.checkpoint)
        return frozenset(names)

    def marker(self, checkpoint: str) -> dict[str, Any] | None:
        """What a checkpoint's marker says; None when it has none."""
        if checkpoint not in self._markers:
            self._markers[checkpoint] = read_marker(self.checkpoints_dir / checkpoint)
        return self._markers[checkpoint]

    @cached_property
    def written(self) -> dict[str, str]:
        """Fingerprints of the checkpoints that the run wrote or went on from, by name."""
        return read_written(self.run)

    def record(self, checkpoint: str, benchmark: str) -> TaskRecord | None:
        """task.json of a cell; None when there is none."""
        return read_task(self.run.cell(checkpoint, benchmark))
