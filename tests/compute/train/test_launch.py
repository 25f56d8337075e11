"""What the launcher is told, without starting it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.compute.train.launch import (
    ATTEMPT_VARIABLE,
    Node,
    accelerate_config,
    command,
    environment,
    main,
)
from harness.config.training.lora import LORA_DEFAULTS
from harness.config.training.script import script_arguments
from harness.config.training.train import TrainSpec

GPUS = TrainSpec(model_name="m", dataset_name="d", nodes=2, gpus_per_node=4)
CPU = TrainSpec(model_name="m", dataset_name="d", use_cpu=True)


def test_two_cpu_processes_are_launched_as_two() -> None:
    config = accelerate_config(CPU, Node())
    assert (config["distributed_type"], config["num_processes"]) == ("MULTI_GPU", 2)
    assert config["use_cpu"] is True


def test_each_node_knows_its_rank_and_the_main_address() -> None:
    config = accelerate_config(GPUS, Node(1, 2, "node-7", 23_456))
    assert (config["num_machines"], config["machine_rank"]) == (2, 1)
    assert config["num_processes"] == 8
    assert (config["main_process_ip"], config["main_process_port"]) == ("node-7", 23_456)


def test_one_gpu_needs_no_process_group() -> None:
    one = TrainSpec(model_name="m", dataset_name="d", gpus_per_node=1)
    assert accelerate_config(one, Node())["distributed_type"] == "NO"


def test_every_argument_of_the_standard_command_reaches_the_script() -> None:
    arguments = script_arguments(GPUS, Path("/r"), Path("/o"), Path("/t.jinja"))
    elsewhere = {"nodes", "gpus_per_node", "cpu_processes", "time_limit", "eos_token", "sft"}
    elsewhere |= {"max_restarts", "keep_checkpoints", "best_metric", "prune", "attn_implementation"}
    elsewhere |= {"eval_split"}  # with what evaluates it: only where a split is named
    elsewhere |= {"use_peft", *LORA_DEFAULTS}
    assert set(TrainSpec.model_fields) - elsewhere <= set(arguments)
    assert not {"use_peft", *LORA_DEFAULTS} & set(arguments)
    assert arguments["expected_world_size"] == 8
    assert arguments["max_steps"] == -1
    assert arguments["report_to"] == "none"
    assert "eos_token" not in arguments
    assert "attn_implementation" not in arguments
    chosen = GPUS.model_copy(update={"attn_implementation": "sdpa"})
    assert script_arguments(chosen, Path("/r"), Path("/o"), None)["attn_implementation"] == "sdpa"


def test_lora_reaches_the_script_with_its_defaults() -> None:
    lora = TrainSpec(model_name="m", dataset_name="d", use_peft=True, lora_r=8)
    arguments = script_arguments(lora, Path("/r"), Path("/o"), None)
    assert arguments["use_peft"] is True
    assert (arguments["lora_r"], arguments["lora_alpha"]) == (8, 32)
    assert arguments["lora_target_modules"] == "all-linear"
    assert arguments["learning_rate"] == 1e-4


def test_a_template_of_the_model_itself_is_not_an_argument() -> None:
    assert "chat_template_path" not in script_arguments(GPUS, Path("/r"), Path("/o"), None)


def test_the_command_names_its_two_files() -> None:
    argv = command(Path("/r/a b.yaml"), Path("/r/$x.json"), python="py")
    assert argv == [
        "py", "-m", "accelerate.commands.launch", "--config_file", "/r/a b.yaml",
        "-m", "harness.compute.train.sft", "--config", "/r/$x.json",
    ]  # fmt: skip


def test_environment_keeps_what_is_there_and_hides_gpus_from_cpu_training() -> None:
    env = environment({"HF_HUB_OFFLINE": "1", "PYTHONPATH": "/x"}, CPU, Path("/p"), 8, "a-1")
    assert env["HF_HUB_OFFLINE"] == "1"
    assert env["PYTHONPATH"] == "/p:/x"
    assert env[ATTEMPT_VARIABLE] == "a-1"
    assert env["ACCELERATE_USE_CPU"] == "true"
    assert env["CUDA_VISIBLE_DEVICES"] == ""
    assert env["OMP_NUM_THREADS"] == "4"


def test_environment_leaves_the_users_threads_and_gpus_alone() -> None:
    env = environment({"OMP_NUM_THREADS": "3"}, GPUS, Path("/p"), 8, "a")
    assert env["OMP_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in env
    assert "ACCELERATE_USE_CPU" not in env


def test_the_configuration_for_launching_by_hand_is_the_jobs_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--parallelism", "zero3", "--processes", "4"])
    spec = TrainSpec(model_name="m", dataset_name="d", parallelism="zero3", gpus_per_node=4)
    assert yaml.safe_load(capsys.readouterr().out) == accelerate_config(spec, Node())
    with pytest.raises(SystemExit):
        main(["--parallelism", "fsdp2", "--processes", "1"])
    assert "too few for fsdp2" in capsys.readouterr().err
