"""The launcher's configuration as accelerate itself reads it, and FSDP2 for real on two CPU processes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("trl", reason="needs the extra `train`")
pytest.importorskip("peft", reason="needs the extra `train`")

import torch
from safetensors.torch import load_file
from torch.distributed.fsdp.fully_sharded_data_parallel import StateDictType
from transformers import AutoModelForCausalLM

from harness.compute.train.launch import Node, accelerate_config
from harness.compute.train.parallel import launched_parallelism
from harness.config.training.train import TrainSpec
from harness.errors import UserError
from harness.runs.checkpoints import complete_checkpoints
from harness.runs.paths import RunPaths
from tests.compute.train.job_run import make_run, train

TOLERANCE = 1e-6
"""Of weights that a step moves by up to 2e-5: ranks add gradients in another order."""


def launched(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables that `accelerate launch --config_file` gives its processes."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import (
        prepare_deepspeed_cmd_env,
        prepare_multi_gpu_env,
    )

    file = tmp_path / "accelerate.yaml"
    file.write_text(yaml.safe_dump(config))
    args = launch_command_parser().parse_args(["--config_file", str(file), "script.py"])
    args, defaults, _ = _validate_launch_command(args)
    if args.use_deepspeed:
        args.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
        _, env = prepare_deepspeed_cmd_env(args)
    else:
        env = prepare_multi_gpu_env(args)
    for name, value in env.items():
        if name.startswith(("ACCELERATE_", "FSDP_")):
            monkeypatch.setenv(name, value)


@pytest.mark.parametrize("parallelism", ["ddp", "fsdp2", "zero2", "zero3"])
@pytest.mark.parametrize("nodes", [1, 2])
def test_the_script_sees_the_parallelism_that_the_spec_named(
    parallelism: Any, nodes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = TrainSpec(model_name="m", dataset_name="d", parallelism=parallelism, nodes=nodes)
    launched(accelerate_config(spec, Node(0, nodes)), tmp_path, monkeypatch)
    assert launched_parallelism() == parallelism


def test_fsdp2s_plugin_shards_all_and_gathers_whole_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy

    spec = TrainSpec(model_name="m", dataset_name="d", parallelism="fsdp2")
    launched(accelerate_config(spec, Node()), tmp_path, monkeypatch)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type == StateDictType.FULL_STATE_DICT
    assert plugin.auto_wrap_policy is transformer_auto_wrap_policy
    assert plugin.activation_checkpointing is False  # the Trainer's own recomputes
    assert plugin.cpu_ram_efficient_loading is True


@pytest.mark.parametrize(
    ("parallelism", "section", "field", "value", "reason"),
    [
        ("fsdp2", "fsdp_config", "fsdp_state_dict_type", "SHARDED_STATE_DICT", "FULL_STATE_DICT"),
        ("fsdp2", "fsdp_config", "fsdp_version", 1, "fsdp_version: 2"),
        ("zero3", "deepspeed_config", "zero3_save_16bit_model", False, "zero3_save_16bit_model"),
        ("zero3", "deepspeed_config", "deepspeed_config_file", "/x.json", "zero_stage"),
    ],
)
def test_a_configuration_by_hand_that_saves_shards_is_refused_before_training(
    parallelism: Any,
    section: str,
    field: str,
    value: object,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = TrainSpec(model_name="m", dataset_name="d", parallelism=parallelism)
    config = accelerate_config(spec, Node())
    config[section][field] = value
    launched(config, tmp_path, monkeypatch)
    with pytest.raises(UserError, match=reason):
        launched_parallelism()


def weights(paths: RunPaths, name: str = "model") -> dict[str, torch.Tensor]:
    return dict(load_file(paths.checkpoints / "checkpoint-4" / f"{name}.safetensors"))


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    # A shared embedding is written twice by FSDP, once by DDP.
    assert set(a) - {"lm_head.weight"} == set(b) - {"lm_head.weight"}
    return max(float((a[name] - b[name]).abs().max()) for name in a.keys() & b.keys())


def finished(folder: Path, inputs: Path, **changes: Any) -> RunPaths:
    paths = make_run(folder, inputs, bf16=False, **changes)
    code, output = train(paths)
    assert code == 0, output
    assert f"2 processes on cpu, {changes.get('parallelism', 'ddp')}" in output
    return paths


def resumed(paths: RunPaths, folder: Path) -> RunPaths:
    """The same run, as if it had been stopped after checkpoint-2, gone on to its end."""
    copy = RunPaths(folder / "tiny" / paths.run_id)
    shutil.copytree(paths.root, copy.root, symlinks=True)
    shutil.rmtree(copy.checkpoints / "checkpoint-4")
    code, output = train(copy)
    assert code == 0, output
    assert "going on from checkpoint-2" in output
    return copy


@pytest.fixture(scope="module")
def fsdp2(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    return finished(tmp_path_factory.mktemp("fsdp2"), inputs, parallelism="fsdp2")


@pytest.fixture(scope="module")
def ddp(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    return finished(tmp_path_factory.mktemp("ddp"), inputs)


@pytest.mark.slow
def test_fsdp2_ends_with_the_weights_of_ddp_in_servable_checkpoints(
    fsdp2: RunPaths, ddp: RunPaths
) -> None:
    assert largest_difference(weights(fsdp2), weights(ddp)) <= TOLERANCE
    for checkpoint in complete_checkpoints(fsdp2.checkpoints).values():
        model = AutoModelForCausalLM.from_pretrained(checkpoint)
        assert all(torch.isfinite(p).all() for p in model.parameters())
    one = AutoModelForCausalLM.from_pretrained(fsdp2.checkpoints / "checkpoint-4")
    other = AutoModelForCausalLM.from_pretrained(ddp.checkpoints / "checkpoint-4")
    ids = torch.arange(32)[None]
    with torch.no_grad():
        assert float((one(ids).logits - other(ids).logits).abs().max()) < 1e-6


@pytest.mark.slow
def test_resumed_fsdp2_ends_with_the_same_weights(fsdp2: RunPaths, tmp_path: Path) -> None:
    assert largest_difference(weights(resumed(fsdp2, tmp_path)), weights(fsdp2)) == 0.0


@pytest.mark.slow
def test_a_resumed_adapter_ends_with_the_same_weights(
    inputs: Path,
    tmp_path: Path,
) -> None:
    paths = finished(tmp_path / "whole", inputs, use_peft=True)
    copy = resumed(paths, tmp_path / "resumed")
    one, other = weights(paths, "adapter_model"), weights(copy, "adapter_model")
    assert largest_difference(one, other) == 0.0
    assert any(float(t.abs().max()) > 0 for name, t in one.items() if "lora_B" in name)
