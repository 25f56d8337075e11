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
    """Findings about trackers, and about FlashAttention for packed rows.

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
    if _needs_flash(train) and not any(map(find_spec, ("flash_attn", "kernels"))):
        findings.append(
            warning(
                "train.packing",
                "packed rows train with FlashAttention on CUDA, and neither flash-attn nor kernels "
                f"is installed in this environment, {_TOO}",
                "pip install flash-attn --no-build-isolation, or set train.attn_implementation: "
                "sdpa (slower, and more memory)",
            )
        )
    return findings


def _needs_flash(train: TrainSpec) -> bool:
    given = train.attn_implementation or "attn_implementation" in (
        train.sft.get("model_init_kwargs") or {}
    )
    return train.packing and not train.use_cpu and not given


def _notes(train: TrainSpec) -> list[Finding]:
    place = "site: environments.train"
    findings = [
        note(place, f"must have the package of {name} (train.report_to); not known from here")
        for name in train.report_to
    ]
    if _needs_flash(train):
        text = "must have flash-attn or a cached FlashAttention kernel (train.packing)"
        findings.append(note(place, f"{text}; not known from here"))
    return findings
