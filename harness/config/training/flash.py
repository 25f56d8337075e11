"""FlashAttention in transformers' own names: its packages, and which is the fastest on a GPU.

The job and `check` read this one table. Sources: packages and names, transformers 5.23,
`modeling_flash_attention_utils.FLASH_ATTENTION_COMPATIBILITY_MATRIX`; GPUs, each project's README and
the assertions of flash-attn-4 4.0.0b36 (`cute/interface.py`: the backward pass needs 9.x to 12.x).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from harness.package import is_installed, needs

PREFIX = "flash_attention_"


@dataclass(frozen=True)
class Flash:
    """One FlashAttention package."""

    version: int
    distribution: str
    """As pip knows it, and as transformers looks for it."""
    install: str
    """How it gets into the training environment."""

    @property
    def name(self) -> str:
        """The word for `attn_implementation`."""
        return f"{PREFIX}{self.version}"


FLASH = {
    2: Flash(2, "flash-attn", f"{needs('flash')} --no-build-isolation (compiled while installing)"),
    # The package index has no flash-attn-3, only its name.
    3: Flash(3, "flash-attn-3", "flash-attention's `hopper` folder, built from its source"),
    4: Flash(4, "flash-attn-4", f"{needs('flash4')} (compiled as it runs)"),
}

_FASTEST = {8: (2, 3), 9: (3, 4, 2), 10: (4, 2), 11: (4, 2), 12: (2, 4)}
"""CUDA compute capability's major number -> versions that train there, the fastest first.

Hopper: FA3 is made for it, and FA4's rows of several lengths were no faster there (torchtitan
#4413). 10.x and 11.x: FA3's kernels do not run. 12.x has no tensor memory, and FA4's backward pass
took a quarter longer than FA2's (flash-attention #1981). vLLM chooses alike.
"""
CAPABILITIES = tuple(_FASTEST)


def flash_versions(capability: int) -> tuple[int, ...]:
    """Versions that train on GPUs of this major number, the fastest first; none before Ampere.

    GPUs newer than the table count as its newest.
    """
    return _FASTEST.get(min(capability, max(_FASTEST)), ())


def fastest(capability: int, there: Collection[int]) -> int | None:
    """The fastest of the versions that are `there` and know the GPU; None where none does."""
    return next((version for version in flash_versions(capability) if version in there), None)


def installed() -> tuple[int, ...]:
    """Versions whose package is in this environment; nothing is imported."""
    return tuple(version for version, flash in FLASH.items() if is_installed(flash.distribution))


def explicit_version(implementation: str | None) -> int | None:
    """The version in `flash_attention_<n>`; None for any other choice."""
    known = {flash.name: version for version, flash in FLASH.items()}
    return known.get(implementation or "")


def install_lines() -> str:
    """How each is installed, one a line."""
    return "\n".join(f"  {flash.distribution}: {flash.install}" for flash in FLASH.values())
