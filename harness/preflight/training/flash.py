"""Which FlashAttention packed rows will train with, as far as the login node can know."""

from __future__ import annotations

from importlib.util import find_spec

from harness.config.site import Site
from harness.config.training.flash import (
    CAPABILITIES,
    FLASH,
    explicit_version,
    fastest,
    install_lines,
    installed,
)
from harness.config.training.train import TrainSpec
from harness.preflight.findings import Finding, note, warning

_TOO = "which the training job uses too"


def check_flash(train: TrainSpec, site: Site) -> list[Finding]:
    """What the job's own choice (`compute/train/attention.py`) will be, by the same table.

    The GPU is not known here, so the choice is told for each kind of GPU. Where the site gives
    training an environment of its own, nothing can be known from here.
    """
    if train.use_cpu:
        return []
    given = train.attn_implementation or (train.sft.get("model_init_kwargs") or {}).get(
        "attn_implementation"
    )
    version = explicit_version(str(given))
    if version is None and (given or not train.packing or not _computes_in_half(train)):
        return []
    elsewhere = site.environment("train")
    if elsewhere.activate or elsewhere.container:
        wanted = FLASH[version].distribution if version else "a FlashAttention package"
        text = f"must have {wanted} or a cached FlashAttention kernel; not known from here"
        return [note("site: environments.train", text)]
    there = installed()
    if version is not None:
        return [] if version in there or find_spec("kernels") else [_explicit_missing(version)]
    if there:
        return [note("train.packing", _choices(there))]
    if find_spec("kernels"):
        return []
    return [
        warning(
            "train.packing",
            "packed rows train with FlashAttention on CUDA, and neither a package of it nor kernels "
            f"is installed in this environment, {_TOO}",
            f"One of\n{install_lines()}\n"
            "or train.attn_implementation: sdpa (slower, and more memory)",
        )
    ]


def _computes_in_half(train: TrainSpec) -> bool:
    return train.bf16 or bool(train.sft.get("fp16")) or train.model_dtype != "float32"


def _explicit_missing(version: int) -> Finding:
    flash = FLASH[version]
    return warning(
        "train.attn_implementation",
        f"{flash.name} needs {flash.distribution} or kernels, and neither is installed in this "
        f"environment, {_TOO}",
        f"{flash.distribution}: {flash.install}",
    )


def _choices(there: tuple[int, ...]) -> str:
    """`packed rows train with flash_attention_3 on GPUs of compute capability 9.x, …`."""
    chosen = {capability: fastest(capability, there) for capability in CAPABILITIES}
    parts = [
        f"{FLASH[version].name} on GPUs of compute capability "
        + ", ".join(
            f"{capability}.x" for capability in CAPABILITIES if chosen[capability] == version
        )
        for version in dict.fromkeys(v for v in chosen.values() if v is not None)
    ]
    text = f"packed rows train with {', '.join(parts)}"
    without = [f"{capability}.x" for capability, version in chosen.items() if version is None]
    if without:
        text += f"; on {', '.join(without)} no installed package trains"
    return text
