"""All checks of a submission, and the spec with every path resolved."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.config.load import expand, expand_template
from harness.config.site import Site
from harness.config.spec import Spec
from harness.config.training.sources import DataSource
from harness.config.training.train import TrainSpec
from harness.errors import ResultError
from harness.plan.steps import planned_steps, total_steps
from harness.preflight.cluster.machine import check_machine
from harness.preflight.cluster.offline import check_offline
from harness.preflight.evaluation.benchmarks import check_best_metric, check_evaluation
from harness.preflight.evaluation.cost import check_tasks
from harness.preflight.evaluation.folders import resolve_folders
from harness.preflight.evaluation.judge import check_judge
from harness.preflight.evaluation.lm_eval_tasks import check_lm_eval_tasks
from harness.preflight.evaluation.serving import check_serving
from harness.preflight.findings import Finding, error, warning
from harness.preflight.rows.sources import check_sources, planned_rows
from harness.preflight.rows.template import check_template
from harness.preflight.rows.validation import check_validation
from harness.preflight.stages import Stages
from harness.preflight.training.adapter import check_adapter
from harness.preflight.training.disk import check_disk
from harness.preflight.training.fields import check_fields
from harness.preflight.training.flash import check_flash
from harness.preflight.training.memory import check_memory
from harness.preflight.training.model import check_model
from harness.preflight.training.output_dir import check_output
from harness.preflight.training.padding import check_padding
from harness.preflight.training.parallelism import check_parallelism
from harness.preflight.training.software import check_software
from harness.preflight.training.steps import check_steps, check_time, fix_steps
from harness.runs.models.folder import find_model
from harness.runs.models.shape import ModelShape, read_shape


@dataclass(frozen=True)
class Checked:
    """What the checks learned."""

    findings: tuple[Finding, ...]
    rows: int | None
    """Rows of the training split, or those drawn of a list; None when it cannot be read."""
    spec: Spec
    """With `max_steps` fixed where packing leaves them open."""

    @property
    def errors(self) -> list[Finding]:
        return [f for f in self.findings if f.level == "error"]


def resolve_spec(spec: Spec) -> Spec:
    """The spec with absolute paths: from the current folder, templates also from the project's."""
    train = spec.train
    changes: dict[str, object] = {"dataset_name": _folders(train)}
    model = Path(os.path.expandvars(os.path.expanduser(train.model_name)))
    if model.is_dir() or model.is_absolute() or train.model_name.startswith((".", "~", "$")):
        changes["model_name"] = str(expand(train.model_name, "train.model_name"))
    if train.output_dir:
        changes["output_dir"] = str(expand(train.output_dir, "train.output_dir"))
    if train.chat_template_path:
        changes["chat_template_path"] = expand_template(
            train.chat_template_path, "train.chat_template_path"
        )
    resolved: dict[str, object] = {"train": train.model_copy(update=changes)}
    if spec.evaluation:
        resolved["evaluation"] = resolve_folders(spec.evaluation)
    return _without_gpus(spec.model_copy(update=resolved))


def _folders(train: TrainSpec) -> str | tuple[DataSource, ...]:
    """`train.dataset_name` with absolute paths."""
    place, given = "train.dataset_name", train.dataset_name
    if isinstance(given, str):
        return str(expand(given, place))
    paths = [str(expand(s.path, f"{place}.{i}.path")) for i, s in enumerate(given)]
    return tuple(s.model_copy(update={"path": path}) for s, path in zip(given, paths, strict=True))


def _without_gpus(spec: Spec) -> Spec:
    """A run that trains on CPU has no GPUs to serve on either, where the engine can do without."""
    server = spec.evaluation.server if spec.evaluation else None
    sizes = server and (server.gpus, server.tensor_parallel, server.data_parallel)
    if not spec.train.use_cpu or not server or not server.kind.on_cpu or sizes != (None,) * 3:
        return spec
    served = server.model_copy(update={"gpus": 0})
    evaluation = spec.evaluation.model_copy(update={"server": served})  # type: ignore[union-attr]
    return spec.model_copy(update={"evaluation": evaluation})


def resolve_site(site: Site) -> Site:
    """The site with absolute folders."""
    return site.model_copy(
        update={
            "runs_dir": str(expand(site.runs_dir, "site: runs_dir")),
            "benchmarks_dir": str(expand(site.benchmarks_dir, "site: benchmarks_dir")),
        }
    )


def check(
    spec: Spec, site: Site, scheduler: str, report: Callable[[str], object] | None = None
) -> Checked:
    """Everything that can be known before queueing, of a resolved spec and site.

    `report` hears what is being done when it takes longer than two seconds.
    """
    train = spec.train
    with Stages(report) as progress:
        progress.stage("model and template")
        folder = find_model(train.model_name)
        findings = check_model(train.model_name)
        findings += check_template(train.chat_template_path, train.assistant_only_loss, folder)
        can_tokenise = not any(f.level == "error" for f in findings)
        model = str(folder or train.model_name) if can_tokenise else None
        data = check_sources(train, model, progress)
        rows, sample = data.rows, data.sample
        shape, unreadable = _shape(folder)
        findings += [*data.findings, *unreadable]
        held_out, found = check_validation(train, model, findings)
        findings += found
        train, found = fix_steps(train, rows, sample)
        spec = spec.model_copy(update={"train": train})
        findings += found + check_steps(train, rows, sample)
        progress.stage("memory, disk and machine")
        longest = max(sample.lengths, default=None) if sample else None
        options = site.options("train")
        findings += check_memory(train, shape, options.gpu_memory_gb, longest)
        findings += check_parallelism(spec, site, folder)
        findings += _check_plan(spec, site, rows, shape, held_out)
        if spec.evaluation:
            findings += check_evaluation(spec.evaluation, site) + check_best_metric(spec)
            progress.stage("lm-eval's tasks")
            findings += check_lm_eval_tasks(spec.evaluation, site)
            findings += check_tasks(spec.name, spec.evaluation, site)
            findings += check_judge(spec, site, rows)
            findings += check_serving(spec.evaluation, site, scheduler, folder)
        progress.stage("the fields, by the trainer's own rules")
        findings += check_fields(train, site)
        findings += check_adapter(train, folder) + check_padding(train, folder)
        findings += check_offline(spec.train, spec.evaluation, site, folder)
        findings += check_software(spec.train, site) + check_flash(spec.train, site)
        findings += check_machine(spec, site, scheduler)
    return Checked(tuple(findings), rows, spec)


def unchecked(spec: Spec) -> Checked:
    """What the plan needs, and a warning that nothing was checked."""
    skipped = warning("--no-check", "nothing was checked: what is wrong shows in the queue")
    return Checked((skipped,), planned_rows(spec.train), spec)


def _check_plan(
    spec: Spec, site: Site, rows: int | None, shape: ModelShape | None, held_out: int | None
) -> list[Finding]:
    """What depends on the number of steps: output folder, disk, time."""
    train = spec.train
    if train.max_steps is None and (train.packing or rows is None):
        return check_output(train, None)
    total = total_steps(train, rows)
    # The run folder will lie below runs_dir.
    output = Path(train.output_dir or Path(site.runs_dir) / spec.name)
    found = check_output(train, total) + check_disk(
        train, shape, planned_steps(train, total), output
    )
    return found + check_time(spec, site, total, held_out)


def _shape(folder: Path | None) -> tuple[ModelShape | None, list[Finding]]:
    try:
        return (read_shape(folder) if folder else None), []
    except ResultError as problem:
        return None, [error("train.model_name", str(problem), "Download the model again")]
