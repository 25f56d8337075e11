"""FlashAttention for packed rows on CUDA: chosen, or refused with the cure, before a model loads.

There is no GPU here. Faked are `torch.cuda.is_available`, and what transformers finds installed;
the decision and the look into the cache of kernels are real.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("trl", reason="TRL is not installed")

import torch
from huggingface_hub import constants
from transformers.integrations.hub_kernels import get_attn_kernel_version
from transformers.modeling_flash_attention_utils import (
    FLASH_ATTENTION_COMPATIBILITY_MATRIX,
    FLASH_ATTN_KERNEL_FALLBACK,
)

from harness.compute.train import attention as module
from harness.compute.train.arguments import parse
from harness.compute.train.attention import attention
from harness.errors import UserError

PACKED = ["--model_name", "m", "--dataset_name", "d", "--use_cpu", "--packing"]
REPO = "kernels-community/flash-attn2"
BRANCH = get_attn_kernel_version(REPO)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with a GPU, without flash-attn, without `kernels`, offline; its kernel cache."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    has_gpu(monkeypatch, 8)
    has_flash(monkeypatch)
    monkeypatch.setattr(module, "is_kernels_available", lambda: False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("KERNELS_CACHE", str(tmp_path))
    return tmp_path


def has_gpu(monkeypatch: pytest.MonkeyPatch, capability: int) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (capability, 0))


def has_flash(monkeypatch: pytest.MonkeyPatch, *versions: int) -> None:
    for version, entry in FLASH_ATTENTION_COMPATIBILITY_MATRIX.items():
        found = version in versions
        monkeypatch.setitem(entry, "general_availability_check", lambda found=found: found)


def has_kernels(monkeypatch: pytest.MonkeyPatch, get_kernel: Any) -> None:
    monkeypatch.setattr(module, "is_kernels_available", lambda: True)
    package = ModuleType("kernels")
    package.get_kernel = get_kernel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kernels", package)


def cache_kernel(cache: Path, repo: str = REPO, branch: int = BRANCH) -> None:
    """What `hf download --repo-type kernel --revision v<BRANCH>` leaves."""
    ref = cache / f"kernels--{repo.replace('/', '--')}" / "refs" / f"v{branch}"
    ref.parent.mkdir(parents=True)
    ref.write_text("0123")


def choose(*options: str) -> str | None:
    script, config = parse([*PACKED, "--bf16", "True", *options])
    config.use_cpu = False
    return attention(script, config)


def test_on_cpu_packed_rows_take_sdpa() -> None:
    script, config = parse([*PACKED, "--bf16", "False"])
    assert attention(script, config) == "sdpa"


def test_without_packing_the_models_own_default_stays(cuda: Path) -> None:
    assert choose("--packing", "False") is None


@pytest.mark.parametrize(
    ("capability", "there", "chosen"),
    [
        (8, (2,), 2),
        (8, (2, 3, 4), 2),
        (9, (2, 3, 4), 3),
        (9, (2, 4), 4),
        (9, (2,), 2),
        (10, (2, 3, 4), 4),
        (10, (2, 3), 2),
        (12, (2, 4), 2),
        (12, (4,), 4),
        (13, (2, 4), 2),
    ],
)
def test_the_fastest_that_is_installed_and_knows_the_gpu_is_taken(
    cuda: Path,
    monkeypatch: pytest.MonkeyPatch,
    capability: int,
    there: tuple[int, ...],
    chosen: int,
) -> None:
    has_gpu(monkeypatch, capability)
    has_flash(monkeypatch, *there)
    assert choose() == f"flash_attention_{chosen}"


@pytest.mark.parametrize("version", [2, 3, 4])
def test_an_explicit_flash_attention_is_kept_where_another_is_faster(
    cuda: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    has_gpu(monkeypatch, 9)
    has_flash(monkeypatch, 2, 3, 4)
    name = f"flash_attention_{version}"
    assert choose("--attn_implementation", name) == name
    assert choose("--model_init_kwargs", f'{{"attn_implementation": "{name}"}}') == name


def test_a_gpu_before_ampere_takes_sdpa(cuda: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has_gpu(monkeypatch, 7)
    has_flash(monkeypatch, 2, 4)
    assert choose() == "sdpa"


def test_an_installed_package_that_does_not_know_the_gpu_is_named(
    cuda: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_flash(monkeypatch, 4)
    with pytest.raises(UserError) as refused:
        choose()
    text = str(refused.value)
    assert "flash-attn-4 does not train on this GPU (compute capability 8.x)" in text
    assert "which knows flash-attn, flash-attn-3" in text
    assert "pip install 'posttrain-harness[flash4]'" in text


def test_an_explicit_choice_without_its_package_names_that_package(cuda: Path) -> None:
    with pytest.raises(UserError, match="neither the flash-attn-4 package"):
        choose("--attn_implementation", "flash_attention_4")


def test_of_cached_kernels_the_fastest_is_taken(
    cuda: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    has_kernels(monkeypatch, lambda repo, version: asked.append(repo))
    has_gpu(monkeypatch, 10)
    cache_kernel(cuda)
    assert choose() == "flash_attention_2"
    repo = FLASH_ATTN_KERNEL_FALLBACK["flash_attention_4"]
    cache_kernel(cuda, repo, get_attn_kernel_version(repo))
    assert choose() == "flash_attention_4"
    assert asked == [REPO, repo]


@pytest.mark.parametrize("explicit", [[], ["--attn_implementation", "flash_attention_2"]])
def test_without_kernels_it_is_refused_with_every_cure(cuda: Path, explicit: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        choose(*explicit)
    text = str(refused.value)
    assert "neither the flash-attn package nor a fitting `kernels` package" in text
    assert "pip install 'posttrain-harness[flash]' --no-build-isolation" in text
    assert f"hf download {REPO} --repo-type kernel --revision v{BRANCH}" in text
    assert "attn_implementation: sdpa" in text


def test_a_kernel_that_is_not_cached_is_refused_offline_without_asking_the_hub(
    cuda: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_kernels(monkeypatch, lambda *_, **__: pytest.fail("the Hub was asked"))
    with pytest.raises(UserError, match="not in the Hub's cache"):
        choose()


def test_a_cached_kernel_is_taken_by_the_version_that_transformers_asks_for(
    cuda: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    has_kernels(monkeypatch, lambda repo, version: asked.append((repo, version)))
    cache_kernel(cuda)
    assert choose() == "flash_attention_2"
    assert asked == [(REPO, BRANCH)]


def test_a_kernel_that_does_not_load_is_refused_with_the_reason(
    cuda: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_kernel(repo: str, version: int) -> None:
        raise FileNotFoundError("no build for torch213-cu130")

    has_kernels(monkeypatch, get_kernel)
    cache_kernel(cuda)
    with pytest.raises(UserError, match="no build for torch213-cu130"):
        choose()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(UserError, match="without internet set HF_HUB_OFFLINE=1"):
        choose()


@pytest.mark.parametrize("given", ["sdpa", "eager", "kernels-community/flash-attn3"])
def test_an_explicit_choice_is_kept(cuda: Path, given: str) -> None:
    assert choose("--attn_implementation", given) == given


def test_a_choice_among_the_models_own_arguments_is_kept(cuda: Path) -> None:
    assert choose("--model_init_kwargs", '{"attn_implementation": "eager"}') == "eager"


def test_float32_alone_takes_sdpa_and_flash_attention_is_refused_for_it(cuda: Path) -> None:
    assert choose("--bf16", "False") == "sdpa"
    with pytest.raises(UserError, match="set bf16: true"):
        choose("--bf16", "False", "--attn_implementation", "flash_attention_2")
