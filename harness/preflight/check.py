"""All checks of a submission, and the spec with every path resolved."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.benchmarks.prepare import is_prepared
from harness.benchmarks.registry import BENCHMARKS, parse
from harness.config.load import PROJECT_ROOT, expand
from harness.config.site import Site
from harness.config.spec import EvaluationSpec, Spec, TrainSpec
from harness.errors import UserError
from harness.plan import total_steps
from harness.preflight.dataset import read_saved_dataset
from harness.preflight.findings import Finding, error, note, warning
from harness.preflight.model import cached_snapshot, check_model
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
    return spec.model_copy(update={"train": train.model_copy(update=changes)})


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
    rows, found = _check_dataset(spec.train)
    findings += found + _check_steps(spec.train, rows)
    if spec.evaluation:
        findings += _check_evaluation(spec.evaluation, site)
    findings += _check_site(spec, site, scheduler)
    return Checked(tuple(findings), rows)


def _check_dataset(train: TrainSpec) -> tuple[int | None, list[Finding]]:
    place = "train.dataset_name"
    try:
        dataset = read_saved_dataset(Path(train.dataset_name), train.dataset_split)
    except UserError as problem:
        message, _, cure = str(problem).partition("\n")
        return None, [error(place, message, cure)]
    findings = []
    if dataset.rows == 0:
        findings.append(error(place, f"{dataset.folder}: has no rows"))
    if "messages" not in dataset.columns and not ({"prompt", "completion"} <= set(dataset.columns)):
        findings.append(
            error(
                place,
                f"{dataset.folder}: columns are {', '.join(dataset.columns)}; "
                "`messages` (or `prompt` and `completion`) is expected",
            )
        )
    return dataset.rows, findings


def _check_steps(train: TrainSpec, rows: int | None) -> list[Finding]:
    if train.max_steps is None or rows is None or train.packing:
        return []
    per_epoch = total_steps(
        train.model_copy(update={"max_steps": None, "num_train_epochs": 1}), rows
    )
    epochs = train.max_steps / per_epoch
    if abs(epochs - train.num_train_epochs) < 0.01:
        return []
    return [
        note(
            "train.max_steps",
            f"{train.max_steps} steps are {epochs:.2f} epochs of {rows} rows; "
            "max_steps overrides num_train_epochs",
        )
    ]


def _check_evaluation(evaluation: EvaluationSpec, site: Site) -> list[Finding]:
    findings = []
    folder = Path(site.benchmarks_dir)
    runs = [parse(word, "evaluation.benchmarks") for word in evaluation.benchmarks]
    unprepared = [
        r.name for r in runs if not BENCHMARKS[r.name].generate and not is_prepared(folder, r.name)
    ]
    if unprepared:
        findings.append(
            error(
                "evaluation.benchmarks",
                f"not prepared in {folder}: {', '.join(unprepared)}",
                f"python -m harness prepare {' '.join(unprepared)}",
            )
        )
    code = [r.name for r in runs if r.benchmark.runs_code]
    if code and not evaluation.allow_unsandboxed_code and shutil.which("bwrap") is None:
        findings.append(
            warning(
                "evaluation.benchmarks",
                f"{', '.join(code)} run model-written programs in bubblewrap, and bwrap is not on "
                "this machine's PATH",
                "It must be on the compute nodes: apt/dnf install bubblewrap, or conda-forge's",
            )
        )
    server, sampling = evaluation.server, evaluation.sampling
    if server.max_model_len is not None and sampling.max_tokens >= server.max_model_len:
        findings.append(
            error(
                "evaluation.sampling.max_tokens",
                f"{sampling.max_tokens} tokens leave no room for a prompt in "
                f"max_model_len {server.max_model_len}",
            )
        )
    if evaluation.max_items:
        findings.append(
            note(
                "evaluation.max_items",
                f"only the first {evaluation.max_items} items of each benchmark: "
                "scores do not compare with full ones",
            )
        )
    return findings


def has_gpu() -> bool:
    """Whether this machine has a GPU's device file (NVIDIA's or AMD's driver)."""
    return any(Path(name).exists() for name in ("/dev/nvidia0", "/dev/kfd"))


def _check_site(spec: Spec, site: Site, scheduler: str) -> list[Finding]:
    findings = []
    runs_dir = Path(site.runs_dir)
    existing = next(p for p in (runs_dir, *runs_dir.parents) if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        findings.append(error("site: runs_dir", f"{runs_dir}: cannot be written (at {existing})"))
    if scheduler == "local" and spec.train.nodes > 1:
        findings.append(error("train.nodes", "the local scheduler has one machine", "nodes: 1"))
    if scheduler == "local" and not spec.train.use_cpu and not has_gpu():
        cure = "Set train.use_cpu: true (and bf16: false) to train in two CPU processes"
        findings.append(error("train.use_cpu", "this machine has no GPU", cure))
    for role, environment in site.environments.items():
        if scheduler == "local" and environment.container and environment.runtime == "pyxis":
            findings.append(error(f"site: environments.{role}", "pyxis needs Slurm's srun"))
        image = environment.container or ""
        if image.startswith("/") and not Path(image).exists():
            findings.append(
                error(f"site: environments.{role}.container", f"{image}: no such image")
            )
    unset = [name for name in site.secrets if name not in os.environ]
    if "wandb" in spec.train.report_to and "WANDB_API_KEY" in unset:
        findings.append(warning("train.report_to", "wandb is asked for, WANDB_API_KEY is not set"))
    return findings
