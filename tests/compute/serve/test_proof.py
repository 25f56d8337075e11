"""Proof of the right model: the wrong folder, the wrong adapter and the base in its place fail it.

The server is a small one that speaks as the real ones do (fake_server.py); tests/slow plants the
same wrong servers with the real vLLM and SGLang.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.compute.serve import serve
from harness.compute.serve.proof import NotYet, Proof, Sample, sample, told_apart
from harness.config.engines import ENGINES
from harness.errors import ServerError
from tests.runs.models.test_adapters import adapter

from .fake_server_request import request
from .http_server import http_server

FOLDER = "/models/checkpoint-500"
NAME = "run/checkpoint-500@0123abcd"
BOTH = pytest.mark.parametrize("engine", ["vllm", "sglang"])


@pytest.fixture
def two(tmp_path: Path) -> dict[str, str]:
    """Two adapters that differ."""
    return {
        "a": str(adapter(tmp_path / "it's a", b=[1.0])),
        "b": str(adapter(tmp_path / "b", b=[2.0])),
    }


@pytest.mark.long
@BOTH
def test_the_right_model_and_its_adapters_are_proved(
    tmp_path: Path, engine: str, two: dict[str, str]
) -> None:
    with serve(request(tmp_path, engine=engine, adapters=two)) as server:
        wanted = {"vllm": {"a": "a", "b": "b"}, "sglang": {n: f"{NAME}:{n}" for n in "ab"}}
        assert (server.model, server.adapters) == (NAME, wanted[engine])


@pytest.mark.long
@BOTH
def test_a_name_with_a_colon_is_served(tmp_path: Path, engine: str) -> None:
    asked = request(tmp_path, engine=engine)
    object.__setattr__(asked, "served_name", "a:b@ab")
    with serve(asked) as server:
        assert server.model == {"vllm": "a:b@ab", "sglang": "a-b@ab"}[engine]


@pytest.mark.long
@pytest.mark.parametrize(
    ("engine", "options", "told"),
    [
        ("vllm", {"root": "/models/checkpoint-5000"}, f"not '{FOLDER}'"),
        ("vllm", {"root": None}, "has loaded None (says /v1/models)"),
        ("sglang", {"model_path": "/models/checkpoint-1"}, "(says /model_info), not"),
        ("sglang", {"model_path": None}, "has loaded None (says /model_info)"),
        ("sglang", {"info": "/nowhere"}, "tells its model at none of"),
        ("sglang", {"model": "another"}, "has the models ['another'], not"),
        ("vllm", {"any_name": True}, "answers 200 to a request for another model"),
        ("sglang", {"open": True}, "answers 200 without its key"),
    ],
)  # fmt: skip
def test_a_server_of_another_model_is_refused(
    tmp_path: Path, engine: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(ServerError) as caught, serve(request(tmp_path, engine=engine, **options)):
        pass
    assert told in str(caught.value)


@pytest.mark.long
def test_an_older_sglang_tells_its_folder_elsewhere(tmp_path: Path) -> None:
    with serve(request(tmp_path, engine="sglang", info="/get_model_info")) as server:
        assert server.model == NAME


@pytest.mark.long
@BOTH
@pytest.mark.parametrize(
    "planted", ["the base's own", "not applied", "the other's", "one for both"]
)
def test_an_adapter_that_is_not_the_one_that_answers_is_refused(
    tmp_path: Path, engine: str, planted: str, two: dict[str, str]
) -> None:
    """The base in its place; listed and loaded, and without effect; another adapter's weights."""
    options: dict[str, Any] = {
        "the base's own": {"as_base": ["a"]},
        "not applied": {"answers_of": {two["b"]: FOLDER}},
        "the other's": {"adapter_roots": {"a": two["b"], "b": two["a"]}},
        "one for both": {"answers_of": {two["b"]: two["a"]}},
    }[planted]
    asked = request(tmp_path, engine=engine, adapters=two, **options)
    told = "answers exactly as" if planted != "the other's" else "has loaded"
    with pytest.raises(ServerError, match=told), serve(asked):
        pass


@pytest.mark.long
@BOTH
def test_an_adapter_of_another_base_is_refused(
    tmp_path: Path, engine: str, two: dict[str, str]
) -> None:
    asked = request(tmp_path, engine=engine, adapters=two, parent="another")
    with pytest.raises(ServerError, match="adapter 'a' is of 'another' there"), serve(asked):
        pass


@pytest.mark.long
@BOTH
def test_an_adapter_that_is_zero_may_answer_as_its_base_and_is_told(
    tmp_path: Path, engine: str, capsys: pytest.CaptureFixture[str], two: dict[str, str]
) -> None:
    zero = str(adapter(tmp_path / "zero", b=[0.0]))
    copy = str(adapter(tmp_path / "copy", b=[1.0]))
    planted = {zero: FOLDER, copy: two["a"]}
    asked = request(
        tmp_path, engine=engine, adapters={"zero": zero, "copy": copy, **two}, answers_of=planted
    )
    with serve(asked):
        pass
    said = capsys.readouterr().out
    assert "adapter zero is zero: it changes nothing" in said
    assert "adapter a is zero" not in said


@pytest.mark.long
def test_an_adapter_that_kills_its_server_is_no_proof(tmp_path: Path, two: dict[str, str]) -> None:
    """SGLang dies on the first request of an adapter that changes `up_proj` alone."""
    asked = request(tmp_path, engine="sglang", adapters=two, die_for="a")
    with (
        pytest.raises(ServerError, match=r"ended before it was ready \(exit code 7\)"),
        serve(asked),
    ):
        pass


WARM = 1e-6


def samples(*values: float) -> list[Sample]:
    return [Sample(("a", "b"), ((value, value - 1), (value,))) for value in values]


@pytest.mark.parametrize(
    ("base", "adapter", "apart"),
    [
        ((0, WARM, WARM, WARM, WARM), (0.1, 0.1 + WARM), True),
        ((0, WARM, WARM, WARM, WARM), (1e-8, WARM + 1e-8), True),  # hardly trained
        ((0, WARM, WARM, WARM, WARM), (WARM, WARM), False),  # the base itself
        ((0, WARM, WARM, WARM, WARM), (0, WARM), False),  # loaded, and not applied
        ((WARM, WARM, WARM, WARM, WARM), (0, WARM), False),  # the base was asked before
        ((0, 0, 0, WARM, WARM), (WARM, WARM), False),  # three replicas by turns
        ((0, 0, 0, 0, 0), (0.1, 0), False),
        ((1, 2, 3, 4, 5), (6, 7), False),  # it never repeats itself: this may be chance
        ((1, 2, 3, 4, 5), (60, 70), True),
    ],
)
def test_no_answer_of_the_one_may_be_an_answer_of_the_other(
    base: tuple[float, ...], adapter: tuple[float, ...], apart: bool
) -> None:
    answers = {"base": samples(*base), "adapter": samples(*adapter)}
    assert told_apart(answers, "base", "adapter", "base") is apart


def test_other_words_are_the_largest_difference_and_no_number_is_none() -> None:
    one = Sample(("a",), ((0.0,),))
    assert one.difference(one) == 0
    for other in (Sample(("b",), ((0.0,),)), Sample(("a",)), Sample(("a",), ((0.0, 1.0),))):
        assert one.difference(other) == other.difference(one) == float("inf")
    odd = {"base": [one, one], "adapter": [Sample(("a",), ((float("nan"),),))]}
    assert not told_apart(odd, "base", "adapter", "base")


def proof(address: str, **changes: Any) -> Proof:
    given: dict[str, Any] = {
        "base_url": address, "api_key": "k", "kind": ENGINES["vllm"], "model": "m@abc ü",
        "folder": "/m", "request_s": 5.0,
    }  # fmt: skip
    return Proof(**given | changes)


@pytest.mark.parametrize(
    ("code", "body", "error"),
    [
        (400, {"error": "pinned to 'm@abc ü'"}, None),
        (500, {}, NotYet),
        (200, {}, ServerError),  # it would load any model
        (400, {"error": "pinned to 'm'"}, ServerError),
        (404, {"error": "pinned to 'm@abc ü'"}, ServerError),
    ],
)
def test_a_server_that_lists_nothing_must_refuse_another_model(
    code: int, body: Any, error: type[Exception] | None
) -> None:
    answer = json.dumps(body, ensure_ascii=False).encode()
    with http_server(lambda _: (code, answer)) as (address, asked):
        checked = proof(address, kind=ENGINES["transformers"])
        if error is None:
            checked.right_model()
        else:
            with pytest.raises(error):
                checked.right_model()
    assert asked[0].body["model"] == "not-m@abc ü"


@pytest.mark.parametrize(
    ("code", "body", "error", "told"),
    [
        (200, {"data": []}, ServerError, "the server has the models [], not 'm@abc ü'"),
        (200, {"models": 1}, ServerError, '/v1/models is not understood: {"models": 1}'),
        (200, b"<html>", ServerError, "/v1/models is not understood: <html>"),
        (401, {}, ServerError, "/v1/models refuses our key (401): it is another server's"),
        (503, {}, NotYet, "/v1/models (answers 503)"),
    ],
)
def test_a_list_that_is_none_is_told(
    code: int, body: Any, error: type[Exception], told: str
) -> None:
    with http_server(lambda _: (code, body)) as (address, _), pytest.raises(error) as caught:
        proof(address).right_model()
    assert str(caught.value) == told


def answering(rule: dict[bool, tuple[int, Any]]) -> Any:
    """By whether log-probabilities were asked for."""
    return lambda asked: rule["logprobs" in asked.body]


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "hi"}, **fields}]}


def test_a_server_without_log_probabilities_is_judged_by_its_words() -> None:
    rule = answering({True: (422, {}), False: (200, choice())})
    with http_server(rule) as (address, asked), httpx.Client() as http:
        assert sample(http, address, "m", "hello") == (200, Sample(("hi",)))
    assert [a.body["max_tokens"] for a in asked] == [16, 16]
    assert asked[0].body["temperature"] == 0


@pytest.mark.parametrize(
    "body",
    [{}, {"choices": []}, [], b"text", choice(logprobs={"content": [{"token": "a"}]}),
     choice(logprobs={"content": [{"token": "a", "logprob": None}]}), choice(logprobs=[1])],
)  # fmt: skip
def test_an_answer_that_is_none_is_told(body: Any) -> None:
    told = pytest.raises(ServerError, match=r"^'m': an answer without a choice: ")
    with http_server(lambda _: (200, body)) as (address, _), httpx.Client() as http, told:
        sample(http, address, "m", "hello")


def test_engines_say_of_themselves_what_the_proof_goes_by() -> None:
    rows = {name: (kind.lists_model, kind.lists_folders, bool(kind.info_paths),
                   kind.refuses_other_names) for name, kind in ENGINES.items()}  # fmt: skip
    assert rows["vllm"] == (True, True, False, True)
    assert rows["sglang"] == (True, False, True, False)
    assert rows["transformers"][0] is False
    for listed, folders, info, _ in rows.values():
        assert not listed or folders or info, "a name alone proves nothing"
