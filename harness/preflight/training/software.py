"""Packages that training needs beyond its own, as far as the login node can know."""

from __future__ import annotations

from importlib.util import find_spec

from harness.config.site import Site
from harness.config.training.trackers import missing_packages
from harness.config.training.train import TrainSpec
from harness.package import needs
from harness.preflight.findings import Finding, note, warning

_TOO = "which the training job uses too"


def check_software(train: TrainSpec, site: Site) -> list[Finding]:
    """Findings about trackers, and the trainer itself.

    Where the site gives training an environment of its own, nothing can be known from here.
    """
    elsewhere = site.environment("train")
    if elsewhere.activate or elsewhere.container:
        return _notes(train)
    findings = [
        warning("train", f"{package} is not installed in this environment, {_TOO}", needs("train"))
        for package in ("torch", "trl", "accelerate")
        if find_spec(package) is None
    ][:1]
    findings += [
        warning(
            "train.report_to",
            f"{name} is not installed in this environment, {_TOO}",
            f"{install}; training stops without it",
        )
        for name, install in missing_packages(train.report_to).items()
    ]
    return findings


def _notes(train: TrainSpec) -> list[Finding]:
    place = "site: environments.train"
    return [
        note(place, f"must have the package of {name} (train.report_to); not known from here")
        for name in train.report_to
    ]
