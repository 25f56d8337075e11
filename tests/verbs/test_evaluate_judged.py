"""Answers that a judge elsewhere judges: in a job of their own, without GPUs, and again alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import harness, shared_data

pytest.importorskip("aiohttp", reason="needs the extra `eval`")

from tests.compute.evaluate.chat_server import chat_server
from tests.compute.evaluate.judge.judge_server import KEY, judging, rates_by_length
from tests.compute.evaluate.odd_server import Reply, completion, fine, odd_server, refusal
from tests.verbs.in_process import Done, User, user

__all__ = ["user"]

DATA = shared_data()
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        DATA is None, reason="the shared benchmark data is not beside the repository"
    ),
]


@pytest.mark.timeout(280)
def test_a_judge_that_failed_is_asked_again_and_nothing_else_is(tmp_path: Path) -> None:
    site_file = tmp_path / "site.yaml"
    site_file.write_text(
        yaml.safe_dump({"scheduler": "local", "runs_dir": str(tmp_path / "runs"),
                        "benchmarks_dir": str(tmp_path / "b"), "secrets": ["JUDGE_KEY", "EVAL_KEY"]})
    )  # fmt: skip
    site = ["--site", str(site_file)]
    assert harness("prepare", "mt-bench", "--from", str(DATA), *site).returncode == 0
    judge = {"model": "j", "api_key_env": "JUDGE_KEY", "retries": 0}
    with (
        chat_server(lambda prompt: f"{len(prompt)} characters") as server,
        judging(rates_by_length) as judges,
    ):
        keys = {"EVAL_KEY": server.api_key, "JUDGE_KEY": KEY}
        judges.always = 500
        done = harness(
            "eval", "m", "-b", "mt-bench", "--server-address", server.base_url, "--model",
            server.model, "--api-key-env", "EVAL_KEY", "--poll", "1", "--set", "max_items=2",
            "--set", f"judge={json.dumps(judge | {'base_url': judges.base_url})}", *site, **keys,
        )  # fmt: skip
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "HTTP 500" in done.stdout
        run = (tmp_path / "runs" / "eval-m" / "latest").resolve()
        cell = run / "eval" / "base" / "mt-bench"
        before = json.loads((cell / "task.json").read_text())
        assert (before["state"], before["facts"]["answers_kept"]) == ("failed", True)
        assert "judge-base" in before["log"]
        asked = len(server.asked)

        judges.always = 0
        dry = harness("retry", "--dry-run", *site, **keys)
        assert "judge-base: mt-bench (failed)" in dry.stdout
        assert "eval-base" not in dry.stdout
        without = harness("retry", *site, **(keys | {"JUDGE_KEY": ""}))
        assert without.returncode == 2
        assert "$JUDGE_KEY is not set" in without.stderr
        done = harness("retry", "--wait", "--poll", "1", *site, **keys)
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert len(server.asked) == asked
        assert len(judges.answered) == 4
    facts = json.loads((cell / "task.json").read_text())["facts"]
    assert facts["served_as"] == server.model
    assert facts["seconds"]["judge"] > 0
    assert facts["seconds"]["generate"] == before["facts"]["seconds"]["generate"]
    assert set(facts["gpu_seconds"]) == {"gpus", "start", "generate", "grade", "idle"}


def ask_mt_bench(user: User, address: str, judge: str, **given: Any) -> Done:
    """`eval m -b mt-bench` of twelve questions, with a judge elsewhere that wants no key."""
    assert user.run("prepare", "mt-bench", "--from", str(DATA)).code == 0
    asked = {"max_items": 12, "judge__base_url": judge, "judge__model": "j"}
    return user.evaluate(address, "mt-bench", **asked, judge__api_key_env="null", **given)


def test_one_refused_request_costs_its_answer_and_retry_asks_for_that_one(user: User) -> None:
    refused = True

    def rule(number: int, asked: dict[str, Any]) -> Reply:
        if refused and "Hawaii" in asked["messages"][0]["content"]:
            return refusal("maximum context length is 8192 tokens: 4123 + 4096 were asked for")
        return fine(number, asked)

    told = "1 of 12 requests failed, e.g. HTTP 400: maximum context length is 8192 tokens"
    with odd_server(rule) as server, judging(rates_by_length, key=None) as judge:
        done = ask_mt_bench(user, server.base_url, judge.base_url)
        assert done.code == 1 and not judge.answered
        assert f"base x mt-bench: invalid: {told}" in done.out
        refused, before = False, len(server.asked)
        done = user.run("retry", "--wait", "--poll=0.5")
        assert "1 cells: 1 ok" in done.out, done.text
        assert len(server.asked) - before == 2  # two turns of one question
        assert len(judge.answered) == 24

    refused = True
    with odd_server(rule) as server, judging(rates_by_length, key=None) as judge:
        done = ask_mt_bench(user, server.base_url, judge.base_url, gates__max_error_share=0.2)
        assert len(judge.answered) == 22
    assert "1 cells: 1 ok" in done.out, done.text
    assert f"note: base x mt-bench: {told}" in done.out


def test_a_second_turn_that_no_longer_fits_is_asked_with_the_room_there_is(user: User) -> None:
    """vLLM's rule, a token for four characters; the first answers of three questions are long."""

    def rule(number: int, asked: dict[str, Any]) -> Reply:
        turns = [turn["content"] for turn in asked["messages"]]
        prompt = sum(len(text) // 4 + 5 for text in turns)
        if prompt + asked["max_tokens"] > 8192:
            return refusal(
                f"This model's maximum context length is 8192 tokens. However, you requested "
                f"{prompt + asked['max_tokens']} tokens ({prompt} in the messages, "
                f"{asked['max_tokens']} in the completion)."
            )
        if len(turns) == 1 and "blog" in turns[0]:
            return Reply(completion("word " * 3500, "length"))
        return fine(number, asked)

    with odd_server(rule) as server, judging(rates_by_length, key=None) as judge:
        done = ask_mt_bench(user, server.base_url, judge.base_url, sampling__max_tokens=4096)
        assert len(judge.answered) == 24
        less = [asked["max_tokens"] for asked in server.asked if asked["max_tokens"] != 4096]
    assert "1 cells: 1 ok" in done.out, done.text
    assert less and all(0 < tokens < 4096 for tokens in less)
    assert f"{len(less)} of 12 answers had less room than max_tokens" in done.out
