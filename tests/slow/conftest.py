"""What the slow tests share: real engines in environments of their own, and models that differ."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.slow.models import Models, make_models

SGLANG_VARIABLES = {
    "SGLANG_USE_CPU_ENGINE": "1",
    "PYTHONPATH": str(Path(__file__).with_name("sglang_on_cpu")),
}
SGLANG_FLAGS = {
    "device": "cpu",
    "attention-backend": "torch_native",
    "sampling-backend": "pytorch",
    "lora-backend": "torch_native",
    "max-total-tokens": 8192,  # else its cache takes most of the machine's memory
}


@pytest.fixture(scope="session")
def sglang_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that HARNESS_SGLANG_VENV names, else one that is installed (2.5 GB, minutes)."""
    return _installed("sglang", tmp_path_factory)


@pytest.fixture(scope="session")
def vllm_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that HARNESS_VLLM_VENV names, else one that is installed (3.5 GB, minutes)."""
    return _installed("vllm", tmp_path_factory)


def _installed(engine: str, folders: pytest.TempPathFactory) -> Path:
    named = os.environ.get(f"HARNESS_{engine.upper()}_VENV")
    folder = Path(named) if named else folders.mktemp(engine) / "venv"
    if (folder / "bin" / engine).exists():
        return folder
    script = Path(__file__).with_name(f"install_{engine}_cpu.sh")
    done = subprocess.run([str(script), str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"{engine} for CPU cannot be installed here: {done.stderr[-500:]}")
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Two models, and adapters of the first."""
    pytest.importorskip("peft", reason="PEFT makes the adapters")
    return make_models(tmp_path_factory.mktemp("models"))
