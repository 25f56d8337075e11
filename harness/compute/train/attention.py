"""Which attention trains: the fastest FlashAttention that is there for packed rows on CUDA."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from huggingface_hub import constants
from transformers.integrations.hub_kernels import get_attn_kernel_version
from transformers.modeling_flash_attention_utils import (
    FLASH_ATTENTION_COMPATIBILITY_MATRIX,
    FLASH_ATTN_KERNEL_FALLBACK,
)
from transformers.utils.import_utils import (
    KERNELS_MAX_VERSION,
    KERNELS_MIN_VERSION,
    is_kernels_available,
)
from trl import SFTConfig

from harness.compute.train.arguments import ScriptArguments
from harness.config.training.flash import (
    FLASH,
    explicit_version,
    fastest,
    flash_versions,
    install_lines,
)
from harness.errors import UserError

PLACE = "attn_implementation"


def attention(script: ScriptArguments, config: SFTConfig) -> str | None:
    """The attention implementation; an explicit choice is kept, None is the model's own default.

    Packed rows: the fastest FlashAttention that is installed and knows the GPU (`best_flash`), sdpa
    off CUDA, on GPUs that none knows, and where all is float32, which FlashAttention cannot compute.
    sdpa builds a (batch x length)^2 mask for packed rows, FlashAttention none. Raises UserError
    where FlashAttention is needed but not there, before any model is loaded.
    """
    chosen = script.attn_implementation or (config.model_init_kwargs or {}).get(PLACE)
    if chosen is None and config.packing:
        wanted = _on_cuda(config) and _is_half(script, config)
        return best_flash(_capability()) if wanted else "sdpa"
    if chosen in FLASH_ATTN_KERNEL_FALLBACK:
        if not _is_half(script, config):
            raise UserError.at(
                PLACE, f"{chosen} computes in bfloat16 or float16 only: set bf16: true"
            )
        require_flash_attention(str(chosen))
    return chosen


def best_flash(capability: int) -> str:
    """The attention for packed rows on a GPU of this compute capability (its major number).

    The fastest of the installed packages; else the fastest kernel of the Hub in its cache, else
    FlashAttention 2's. Raises UserError where there is none of these.
    """
    if torch.version.hip:  # transformers finds version 2 alone made for ROCm
        require_flash_attention(FLASH[2].name)
        return FLASH[2].name
    if not flash_versions(capability):
        return "sdpa"
    known = [version for version in FLASH if version in FLASH_ATTENTION_COMPATIBILITY_MATRIX]
    version = fastest(capability, list(filter(is_installed, known)))
    if version is None:
        version = fastest(capability, list(filter(_is_cached, known))) or 2
        require_flash_attention(FLASH[version].name, capability)
    return FLASH[version].name


def is_installed(version: int) -> bool:
    """Whether transformers finds the package of a version, and its device."""
    return bool(FLASH_ATTENTION_COMPATIBILITY_MATRIX[version]["general_availability_check"]())


def require_flash_attention(implementation: str, capability: int | None = None) -> None:
    """Raise UserError, with the cure, unless `flash_attention_<n>` can be loaded here.

    As transformers 5.23 looks for it: the package, else a kernel of the Hub by the `kernels`
    package, from its cache when HF_HUB_OFFLINE is set. `capability`: none was chosen, any that
    knows the GPU would do.
    """
    version = explicit_version(implementation)
    assert version is not None  # of the same names as transformers'
    if is_installed(version):
        return
    package = FLASH[version].distribution
    repo = FLASH_ATTN_KERNEL_FALLBACK[implementation]
    branch = get_attn_kernel_version(repo)
    if not is_kernels_available():
        reason = (
            f"neither the {package} package nor a fitting `kernels` package "
            f"(>={KERNELS_MIN_VERSION},<{KERNELS_MAX_VERSION}) is installed"
        )
    elif constants.HF_HUB_OFFLINE and not kernel_is_cached(repo, branch):
        reason = f"{package} is not installed, and {repo} v{branch} is not in the Hub's cache"
    else:
        problem = _load(repo, branch)
        if problem is None:
            return
        reason = f"{package} is not installed, and {repo} v{branch} cannot be loaded: {problem}"
        if not constants.HF_HUB_OFFLINE and kernel_is_cached(repo, branch):
            reason += " (it is in the cache: without internet set HF_HUB_OFFLINE=1)"
    raise UserError.at(
        PLACE, f"{implementation} is not there: {reason}.{_others(capability)}", cure(repo, branch)
    )


def _others(capability: int | None) -> str:
    """Words for packages that are there and of no use on this GPU."""
    if capability is None:
        return ""
    known = flash_versions(capability)
    useless = [
        FLASH[v].distribution
        for v in FLASH_ATTENTION_COMPATIBILITY_MATRIX
        if v in FLASH and v not in known and is_installed(v)
    ]
    if not useless:
        return ""
    fit = ", ".join(FLASH[version].distribution for version in known)
    return (
        f" {', '.join(useless)} does not train on this GPU (compute capability {capability}.x), "
        f"which knows {fit}."
    )


def cure(repo: str, branch: int) -> str:
    """The ways out, by name."""
    return (
        f"In the training environment, one of\n{install_lines()}\n"
        f"  pip install 'kernels>={KERNELS_MIN_VERSION},<{KERNELS_MAX_VERSION}', and where there is "
        f"internet: hf download {repo} --repo-type kernel --revision v{branch}\n"
        f"or set {PLACE}: sdpa (slower, and more memory for packed rows) or packing: false"
    )


def _is_cached(version: int) -> bool:
    repo = FLASH_ATTN_KERNEL_FALLBACK[FLASH[version].name]
    return is_kernels_available() and kernel_is_cached(repo, get_attn_kernel_version(repo))


def kernel_is_cached(repo: str, branch: int) -> bool:
    """Whether a kernel's branch is in the cache, as the `kernels` package lays it out."""
    cache = Path(os.environ.get("KERNELS_CACHE") or constants.HF_HUB_CACHE)
    folders = (cache / f"{kind}s--{repo.replace('/', '--')}" for kind in ("kernel", "model"))
    return any((folder / "refs" / f"v{branch}").is_file() for folder in folders)


def _load(repo: str, branch: int) -> str | None:
    """Why a kernel cannot be loaded; None when it can."""
    from kernels import get_kernel

    try:
        get_kernel(repo, version=branch)
    except Exception as error:  # whatever it is, training could not load it either
        return f"{type(error).__name__}: {error}"
    return None


def _on_cuda(config: SFTConfig) -> bool:
    return not config.use_cpu and torch.cuda.is_available()


def _capability() -> int:
    return int(torch.cuda.get_device_capability()[0])


def _is_half(script: ScriptArguments, config: SFTConfig) -> bool:
    return bool(config.bf16 or config.fp16) or script.model_dtype in ("bfloat16", "float16", "auto")
