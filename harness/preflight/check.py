"""All checks of a submission, and the spec with every path resolved."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.config.load import PROJECT_ROOT, expand
from harness.config.site import Site
from harness.config.spec import Spec
from harness.preflight.dataset import check_dataset
from harness.preflight.evaluation import check_evaluation
from harness.preflight.findings import Finding
from harness.preflight.judge import check_judge, resolve_judge
from harness.preflight.machine import check_machine
from harness.preflight.model import cached_snapshot, check_model
from harness.preflight.parallelism import check_parallelism
from harness.preflight.steps import check_steps
from harness.preflight.template import check_template


@dataclass(frozen=True)
class Checked:
    """What the checks learned."""

    findings: tuple[Finding, ...]
    rows: int | None
    """Rows of the training split; None when it cannot be read."""

    @property
    def errors(self) -> list[Finding]:
        return [f for f in self.findings if f.level == "error"]


def resolve_spec(spec: Spec) -> Spec:
    """The spec with absolute paths: from the current folder, templates also from the project's."""
    train = spec.train
    changes: dict[str, object] = {
        "dataset_name": str(expand(train.dataset_name, "train.dataset_name"))
    }
    model = Path(os.path.expandvars(os.path.expanduser(train.model_name)))
    if model.is_dir() or model.is_absolute() or train.model_name.startswith((".", "~", "$")):
        changes["model_name"] = str(expand(train.model_name, "train.model_name"))
    if train.output_dir:
        changes["output_dir"] = str(expand(train.output_dir, "train.output_dir"))
    if train.chat_template_path:
        path = expand(train.chat_template_path, "train.chat_template_path")
        shipped = PROJECT_ROOT / train.chat_template_path
        changes["chat_template_path"] = str(
            path if path.is_file() or not shipped.is_file() else shipped
        )
    return resolve_judge(spec.model_copy(update={"train": train.model_copy(update=changes)}))


def resolve_site(site: Site) -> Site:
    """The site with absolute folders."""
    return site.model_copy(
        update={
            "runs_dir": str(expand(site.runs_dir, "site: runs_dir")),
            "benchmarks_dir": str(expand(site.benchmarks_dir, "site: benchmarks_dir")),
        }
    )


def check(spec: Spec, site: Site, scheduler: str) -> Checked:
    """Everything that can be known before queueing, of a resolved spec and site."""
    findings = check_model(spec.train.model_name)
    model = Path(spec.train.model_name)
    folder = model if model.is_dir() else cached_snapshot(spec.train.model_name)
    findings += check_template(
        spec.train.chat_template_path, spec.train.assistant_only_loss, folder
    )
    rows, found = check_dataset(spec.train)
    findings += found + check_steps(spec.train, rows)
    findings += check_parallelism(spec, site, folder)
    if spec.evaluation:
        findings += check_evaluation(spec.evaluation, site)
        findings += check_judge(spec, site, rows)
    findings += check_machine(spec, site, scheduler)
    return Checked(tuple(findings), rows)
