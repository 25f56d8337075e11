"""Every flag of our SGLang command is defined by the real wheel, whose flags are recorded."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness.compute.serve import ServeRequest, command
from harness.compute.serve.sglang import LAUNCH
from tests.support import ROOT

CAPTURED = ROOT / "tests" / "captured"
VERSION = "0.5.23"
RECORDING = CAPTURED / f"sglang_flags_{VERSION}.json"


def recorder() -> ModuleType:
    path = CAPTURED / "record_sglang_flags.py"
    spec = importlib.util.spec_from_file_location("record_sglang_flags", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("replicas", [1, 4])
def test_each_flag_of_our_command_is_defined_there(replicas: int) -> None:
    argv = command(
        ServeRequest(
            engine="sglang",
            model="/models/checkpoint-500",
            served_name="run/checkpoint-500",
            tensor_parallel=2,
            data_parallel=replicas,
            max_model_len=4096,
            gpu_memory_utilization=0.8,
            chat_template="/templates/qwen3.jinja",
            reasoning_parser="qwen3",
            lora_adapters={"a": "/adapters/a"},
            log_path=Path("server.log"),
        ),
        12000,
    )
    used = {word for word in argv if word.startswith("--")} | {"--api-key"}  # see LAUNCH
    assert "--api-key" in LAUNCH
    assert len(used) >= 13
    assert used <= set(json.loads(RECORDING.read_text()))


def test_the_recorder_follows_sglangs_rules_for_flags() -> None:
    source = """
class Fields:
    plain_name: A[int, "help"] = 1
    joined: A[Optional[str], "help " "in parts"] = None
    renamed: A[int, Arg(help="h", cli_name="--other-name", aliases=["--alias"])] = 1
    hidden: A[int, Arg(no_cli=True)] = 1
    not_a_flag: Optional[str] = None
    derived: A[int, Derived("doc")] = 1
"""
    flags = recorder().flags_of_fields(source)
    assert flags == {"--plain-name", "--joined", "--other-name", "--alias"}


@pytest.mark.slow
def test_the_recording_is_true_to_the_wheel(tmp_path: Path) -> None:
    fetch = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    fetched = subprocess.run(
        [*fetch, "--quiet", "--dest", str(tmp_path), f"sglang=={VERSION}"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    wheels = list(tmp_path.glob("sglang-*.whl"))
    if not wheels:
        pytest.skip(f"the wheel cannot be downloaded: {fetched.stderr[-300:]}")
    assert recorder().flags_of_wheel(wheels[0]) == json.loads(RECORDING.read_text())
