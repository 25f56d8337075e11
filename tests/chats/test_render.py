"""Rows to tokens and masks; against TRL's own: tests/compute/train/rows/test_tokenise.py."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")

from harness.chats.render import Cut, Renderer, Tokens
from harness.chats.rows import RowProblem
from harness.chats.tokenizer import TokenizerSource, load_tokenizer
from tests.preflight.support import MARKED, turn
from tests.tiny_model import make_tiny_tokenizer

ROW: dict[str, Any] = {"messages": turn("Q", "five")}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = make_tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))
    return load_tokenizer(TokenizerSource(model=str(folder), template=MARKED))


def trained(tokenizer: Any, row: dict[str, Any], **options: Any) -> str:
    done = Renderer(tokenizer, masked=True, **options).row(row)
    pairs = zip(done.ids, done.mask, strict=True)
    return str(tokenizer.decode([token for token, on in pairs if on]))


def test_a_batch_is_as_its_rows_one_by_one(tokenizer: Any) -> None:
    plain = {"prompt": "2 + 3 =", "completion": " 5"}
    rows: list[dict[str, Any]] = [ROW, plain, {"messages": []}, {"messages": turn("Q", "six 6")}]
    renderer = Renderer(tokenizer, masked=True)
    together = renderer.rows(rows)
    assert str(together[2]) == "no messages"
    for row, done in zip(rows, together, strict=True):
        if isinstance(done, Tokens):
            assert renderer.row(row) == done


def test_a_turn_of_weight_0_is_not_trained(tokenizer: Any) -> None:
    first, second = turn("A", "one") or [], turn("B", "two") or []
    turns: list[dict[str, Any]] = [*first, *second]
    assert trained(tokenizer, {"messages": turns}) == "one<|im_end|>two<|im_end|>"
    for zero, left in ((1, "two<|im_end|>"), (3, "one<|im_end|>")):
        weighed = [{**t, "weight": 0.0} if i == zero else t for i, t in enumerate(turns)]
        assert trained(tokenizer, {"messages": weighed}) == left
    with pytest.raises(RowProblem, match="only with assistant_only_loss"):
        Renderer(tokenizer, masked=False).row({"messages": weighed})
    with pytest.raises(RowProblem, match=r"weight 0\.5"):
        trained(tokenizer, {"messages": [*first, {**second[-1], "weight": 0.5}]})


def test_a_prompt_is_trained_where_that_is_asked_for(tokenizer: Any) -> None:
    row = {"prompt": "2 + 3 =", "completion": " 5"}
    assert trained(tokenizer, row) == " 5<|endoftext|>"
    assert trained(tokenizer, row, completion_only=False) == "2 + 3 = 5<|endoftext|>"


def test_a_huge_text_is_cut_and_its_length_is_estimated(tokenizer: Any) -> None:
    row = {"messages": turn("word " * 20_000, "five")}
    whole = Renderer(tokenizer, masked=True).row(row)
    for keep_end in (False, True):
        done = Renderer(tokenizer, masked=True, cut=Cut(1000, keep_end)).row(row)
        assert len(done.ids) < 1000
        assert len(done.ids) + done.beyond == pytest.approx(len(whole.ids), rel=0.1)
        part = slice(-20, None) if keep_end else slice(20)
        assert done.mask[part] == whole.mask[part]
        assert done.ids[part][1:-1] == whole.ids[part][1:-1]
