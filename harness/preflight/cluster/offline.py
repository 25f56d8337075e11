"""Do compute nodes need the internet: what jobs read from disk, and what they must reach."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from harness.benchmarks.prepare import is_prepared
from harness.benchmarks.registry import Benchmark, parse
from harness.config.evaluation import EvaluationSpec
from harness.config.site import Site
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, note

PLACE = "compute nodes"
_HOSTED = {"wandb": "WANDB_MODE", "comet_ml": "COMET_MODE", "swanlab": "SWANLAB_MODE"}
"""Trackers that send to a service unless this variable says otherwise."""


def check_offline(
    train: TrainSpec | None, evaluation: EvaluationSpec | None, site: Site, model: Path | None
) -> list[Finding]:
    """One finding: that jobs need no internet, or what for.

    `model` is the folder that training starts from or that is served; None: not on this machine.
    Whatever is not on disk and has an own error is named here too, so that a note that says "no
    internet" is never wrong.
    """
    on_disk, reach, unknown = [], [], []
    if model is not None:
        on_disk.append(f"the model ({model})")
    else:
        reach.append("the Hub, for the model")
    if train is not None:
        for source in train.sources:
            there = Path(source.path).is_dir()
            (on_disk if there else reach).append(f"the dataset ({source.path})")
        reach += [f"{t}'s service (train.report_to)" for t in train.report_to if is_hosted(t, site)]
    for benchmark in _benchmarks(evaluation):
        if benchmark.backend != "builtin":
            unknown.append(f"{benchmark.name} (the data of {benchmark.backend})")
        elif benchmark.generate or is_prepared(Path(site.benchmarks_dir), benchmark.name):
            on_disk.append(benchmark.name)
        else:
            reach.append(f"the source of {benchmark.name}")
    if evaluation and evaluation.judge and any(b.needs_judge for b in _benchmarks(evaluation)):
        judge = evaluation.judge
        if judge.serve is None:
            reach.append(f"{urlsplit(judge.base_url).netloc} (evaluation.judge)")
    if reach:
        text = f"must reach {', '.join(reach)}; on disk are {', '.join(on_disk) or 'none of it'}"
    else:
        text = f"need no internet: on disk are {', '.join(on_disk)}"
    if unknown:
        text += f"; not known of {', '.join(unknown)}"
    return [note(PLACE, text)]


def _benchmarks(evaluation: EvaluationSpec | None) -> list[Benchmark]:
    words = evaluation.benchmarks if evaluation else ()
    return [parse(word, "evaluation.benchmarks").benchmark for word in words]


def is_hosted(tracker: str, site: Site) -> bool:
    """Whether a tracker sends to a service, as the job's variables have it."""
    variable = _HOSTED.get(tracker)
    if variable is None:
        return False
    given = site.environment("train").variables.get(variable, os.environ.get(variable, ""))
    return given.lower() not in ("offline", "disabled", "local")
