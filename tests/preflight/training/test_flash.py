"""What `check` says of FlashAttention, and that the job chooses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.site import Environment, Site
from harness.config.training.flash import CAPABILITIES, FLASH
from harness.config.training.train import TrainSpec
from harness.preflight.check import check
from harness.preflight.findings import Finding
from harness.preflight.training import flash
from harness.preflight.training.flash import check_flash
from tests.preflight.test_check import spec


def found(**fields: Any) -> list[Finding]:
    return check_flash(TrainSpec(model_name="m", dataset_name="d", **fields), Site())


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts packages of these versions into the environment, as pip would; `kernels` is not there."""
    monkeypatch.setattr(flash, "find_spec", lambda name: None)
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(*versions: int) -> None:
        for version in versions:
            module = "flash_attn_interface" if version == 3 else "flash_attn"
            (tmp_path / module).mkdir(exist_ok=True)
            (tmp_path / module / "__init__.py").write_text("__version__ = '9.0.0'\n")
            name = FLASH[version].distribution
            folder = tmp_path / f"{name.replace('-', '_')}-9.0.0.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0.0\n"
            )
            (folder / "top_level.txt").write_text(f"{module}\n")

    return put


def test_packing_on_gpus_without_flash_attention_is_a_warning(install: Any) -> None:
    (missing,) = found(packing=True)
    assert (missing.level, missing.place) == ("warning", "train.packing")
    for cure in ("[flash]' --no-build-isolation", "[flash4]'", "attn_implementation: sdpa"):
        assert cure in missing.cure
    for fine in (
        {"packing": True, "use_cpu": True},
        {"packing": True, "bf16": False},
        {"packing": True, "attn_implementation": "sdpa"},
        {"packing": True, "model_init_kwargs": {"attn_implementation": "eager"}},
        {},
    ):
        assert found(**fine) == []


def test_kernels_may_bring_it(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flash, "find_spec", lambda name: name == "kernels")
    assert found(packing=True) == []
    assert found(attn_implementation="flash_attention_3") == []


def test_the_choice_is_told_for_each_gpu(install: Any, tmp_path: Path) -> None:
    install(2, 4)
    (told,) = found(packing=True)
    assert told.level == "note"
    assert "flash_attention_2 on GPUs of compute capability 8.x, 12.x" in told.message
    assert "flash_attention_4 on GPUs of compute capability 9.x, 10.x, 11.x" in told.message
    whole = spec(tmp_path, packing=True, use_cpu=False, bf16=True, max_steps=4, gpus_per_node=1)
    assert told in check(whole, Site(runs_dir=str(tmp_path)), "slurm").findings


def test_gpus_that_no_installed_package_knows_are_named(install: Any) -> None:
    install(4)
    (told,) = found(packing=True)
    assert "on 8.x no installed package trains" in told.message


def test_an_explicit_choice_needs_its_own_package(install: Any) -> None:
    install(2)
    assert found(attn_implementation="flash_attention_2") == []
    for given in (
        {"attn_implementation": "flash_attention_4"},
        {"model_init_kwargs": {"attn_implementation": "flash_attention_4"}},
    ):
        (missing,) = found(**given)
        assert (missing.level, missing.place) == ("warning", "train.attn_implementation")
        assert "[flash4]" in missing.cure


def test_another_environment_cannot_be_looked_into() -> None:
    elsewhere = Site(environments={"train": Environment(activate=("source /envs/train",))})
    train = TrainSpec(model_name="m", dataset_name="d", packing=True)
    (told,) = check_flash(train, elsewhere)
    assert (told.level, "not known from here" in told.message) == ("note", True)


@pytest.mark.long
@pytest.mark.parametrize("versions", [(2,), (4,), (2, 4), (2, 3, 4)], ids=str)
def test_the_job_takes_what_check_tells(
    install: Any, monkeypatch: pytest.MonkeyPatch, versions: tuple[int, ...]
) -> None:
    """transformers looks for the packages itself; only the GPU is a fake."""
    pytest.importorskip("trl", reason="needs the extra `train`")
    from transformers.modeling_flash_attention_utils import FLASH_ATTENTION_COMPATIBILITY_MATRIX
    from transformers.utils import import_utils

    from harness.compute.train.attention import best_flash

    checks = [
        e["general_availability_check"] for e in FLASH_ATTENTION_COMPATIBILITY_MATRIX.values()
    ]
    cached = [*checks, import_utils._package_distribution_mapping]
    monkeypatch.setattr(import_utils, "is_torch_cuda_available", lambda: True)
    install(*versions)
    try:
        for function in cached:
            function.cache_clear()
        (told,) = found(packing=True)
        parts = told.message.partition(";")[0].split("flash_attention_")[1:]
        choices = {capability: f"flash_attention_{part[0]}" for capability in CAPABILITIES
                   for part in parts if f"{capability}.x" in part}  # fmt: skip
        assert choices
        assert {capability: best_flash(capability) for capability in choices} == choices
    finally:
        monkeypatch.undo()
        for function in cached:
            function.cache_clear()
