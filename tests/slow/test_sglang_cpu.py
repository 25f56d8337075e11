"""The real SGLang, on CPU, through serve(): its adapters, its proof, its seeds, and its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytest.importorskip("peft", reason="PEFT makes the adapters")

from harness.compute.serve import RunningServer, ServeRequest, serve
from harness.compute.serve.proof import Adapter, Proof
from harness.config.engine_flags import describe
from harness.config.engine_flags.definitions import Definitions, recorded
from harness.config.engines import ENGINES
from harness.errors import ServerError
from tests.slow.conftest import SGLANG_FLAGS, SGLANG_VARIABLES
from tests.slow.models import PROMPT, TOKENS, Models, greedy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KIND = ENGINES["sglang"]


@pytest.fixture(scope="module")
def server(
    sglang_venv: Path, models: Models, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """The first model in float32 with its adapters; when it has stopped nothing of it lives."""
    path = f"PATH={sglang_venv / 'bin'}:{os.environ['PATH']}"
    variables = [f"{name}={value}" for name, value in SGLANG_VARIABLES.items()]
    request = ServeRequest(
        engine="sglang",
        model=str(models.one),
        served_name="tiny: run/checkpoint-500@0123abcd",
        dtype="float32",
        max_model_len=512,
        lora_adapters=models.adapters,
        extra_flags=SGLANG_FLAGS,
        ready_timeout_s=900,
        wrap=lambda argv: ["env", path, *variables, *argv],
        log_path=tmp_path_factory.mktemp("server") / "server.log",
    )
    with serve(request) as running:
        tree = psutil.Process(running.pid).children(recursive=True)
        assert tree, "SGLang runs its scheduler in a process of its own"
        print(f"ready after {running.start_seconds:.0f} s")
        yield running
    assert not [process for process in tree if process.is_running()]
    assert not running.alive()
    log = running.log_path.read_text()
    assert "server_args=" in log and running.api_key not in log


def ask(server: RunningServer, model: str, key: str | None = None, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": TOKENS, "temperature": 0.0, **fields}  # fmt: skip
    head = {"Authorization": f"Bearer {key or server.api_key}"}
    url = f"{server.base_url}/chat/completions"
    return httpx.post(url, json=body, headers=head, timeout=120, trust_env=False)


def text(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def proof(server: RunningServer, models: Models, *adapters: Adapter) -> Proof:
    return Proof(
        base_url=server.base_url, api_key=server.api_key, kind=KIND, model=server.model,
        folder=str(models.one), adapters=adapters, request_s=120,
    )  # fmt: skip


def test_each_model_answers_under_its_own_name_as_transformers_does(
    server: RunningServer, models: Models
) -> None:
    assert server.model == "tiny- run/checkpoint-500@0123abcd"
    assert server.adapters == {name: f"{server.model}:{name}" for name in models.adapters}
    own = greedy(models.one)
    assert text(ask(server, server.model)) == own
    assert text(ask(server, server.adapters["zero"])) == own
    found = {name: text(ask(server, server.adapters[name])) for name in "ab"}
    assert found == {name: greedy(models.one, models.adapters[name]) for name in "ab"}
    assert len({own, *found.values()}) == 3
    assert ask(server, server.model, key="guess").status_code == 401


def test_names_prove_nothing(server: RunningServer) -> None:
    """Why it is asked for its folder, and adapters by their base's name too."""
    own = text(ask(server, server.model))
    for name in ("a", "no-such-model", f"not-{server.model}"):
        assert text(ask(server, name)) == own
    assert ask(server, f"{server.model}:no-such-adapter").status_code == 400


def test_the_wrong_folder_and_the_wrong_adapter_are_refused(
    server: RunningServer, models: Models
) -> None:
    a, b = (
        Adapter(name, models.adapters[name], server.adapters[name], identity=name) for name in "ab"
    )
    proof(server, models, a, b).right_model()
    proof(server, models, a, b).own_answers()
    wrong = [
        (replace(proof(server, models), folder=str(models.other)), "has loaded"),
        (proof(server, models, replace(a, folder=b.folder)), "has loaded"),
        (proof(server, models, replace(a, asked_as="a")), "answers exactly as"),
        (proof(server, models, a, replace(b, asked_as=f"x:{a.name}")), "answers exactly as"),
        (proof(server, models, replace(a, asked_as=server.adapters["zero"])), "answers exactly as"),
    ]
    for each, told in wrong:
        with pytest.raises(ServerError, match=told):
            _prove(each)


def _prove(each: Proof) -> None:
    each.right_model()
    each.own_answers()


def test_a_seed_is_not_read(server: RunningServer) -> None:
    """Only under the flags that the engine's row names, which have no part for this CPU."""
    asked = [text(ask(server, server.model, temperature=1.0, seed=1)) for _ in range(4)]
    assert len(set(asked)) > 1
    assert {"enable-deterministic-inference", "rl-on-policy-target"} == set(KIND.seed_flags)


def test_its_flags_are_the_recorded_ones(sglang_venv: Path) -> None:
    argv = [
        str(sglang_venv / "bin" / "python"),
        describe.__file__,
        "sglang",
        KIND.package,
        *KIND.flags_from,
    ]
    told = subprocess.run(
        argv, capture_output=True, text=True, timeout=300, check=True,
        env={**os.environ, **SGLANG_VARIABLES},
    ).stdout  # fmt: skip
    assert Definitions.model_validate_json(told) == recorded("sglang", "0.5.23")
