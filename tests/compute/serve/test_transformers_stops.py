"""A checkpoint stops where its template ends a turn: the real `transformers serve` on CPU."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

pytest.importorskip("trl", reason="TRL is not installed")

from harness.compute.serve import ServeRequest, serve
from tests.compute.serve.test_transformers import INSTALLED, PROGRAM
from tests.overfitted import ANSWER, QUESTION, make_overfitted_checkpoint, without_its_end_token

pytestmark = [pytest.mark.long, INSTALLED]
MAX_TOKENS = 48


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_overfitted_checkpoint(tmp_path_factory.mktemp("overfitted"))


def answer(model: Path, log: Path) -> tuple[str, str, int]:
    """Text, finish_reason and tokens of one greedy answer."""
    request = ServeRequest(
        engine="transformers", model=str(model), served_name="unused by this engine",
        dtype="float32", extra_flags={"device": "cpu"}, ready_timeout_s=200,
        wrap=lambda argv: [str(PROGRAM), *argv[1:]], log_path=log,
    )  # fmt: skip
    with serve(request) as server:
        body = {"model": server.model, "messages": [{"role": "user", "content": QUESTION}],
                "max_tokens": MAX_TOKENS, "temperature": 0.0}  # fmt: skip
        url = f"{server.base_url}/chat/completions"
        answered = httpx.post(url, json=body, timeout=120, trust_env=False)
    assert answered.status_code == 200, answered.text
    (choice,) = answered.json()["choices"]
    tokens = answered.json()["usage"]["completion_tokens"]
    return choice["message"]["content"], choice["finish_reason"], tokens


def test_a_trained_checkpoint_stops_at_the_templates_end_token(
    checkpoint: Path, tmp_path: Path
) -> None:
    text, reason, tokens = answer(checkpoint, tmp_path / "server.log")
    assert text.removesuffix("<|im_end|>") == ANSWER
    assert reason == "stop"
    assert tokens < MAX_TOKENS / 2


def test_without_the_end_token_in_its_generation_config_it_would_run_on(
    checkpoint: Path, tmp_path: Path
) -> None:
    _, reason, tokens = answer(
        without_its_end_token(checkpoint, tmp_path / "checkpoint-60"), tmp_path / "server.log"
    )
    assert (reason, tokens) == ("length", MAX_TOKENS)
