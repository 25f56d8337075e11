"""One way to load the tokenizer: end token, template, a class of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="needs the extra `train`")

from harness.chats.tokenizer import (
    TokenizerSource,
    UnknownEos,
    keep_own_files,
    load_tokenizer,
)
from tests.tiny_model import make_tiny_tokenizer

OWN_CLASS = """
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast


class HouseTokenizer(PreTrainedTokenizerFast):
    vocab_files_names = {"table_file": "house_table.json"}

    def __init__(self, table_file=None, **options):
        options.pop("tokenizer_object", None)
        super().__init__(tokenizer_object=Tokenizer.from_file(table_file), **options)
        self.table_file = table_file
"""


def of_its_own_class(folder: Path) -> Path:
    """Make the tokenizer of a model's folder one that only code in that folder can load."""
    (folder / "tokenizer.json").rename(folder / "house_table.json")
    (folder / "house_tokens.py").write_text(OWN_CLASS)
    file = folder / "tokenizer_config.json"
    names = {"AutoTokenizer": [None, "house_tokens.HouseTokenizer"]}
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"tokenizer_class": "HouseTokenizer", "auto_map": names}))
    return folder


def test_end_token_and_template_are_set(tmp_path: Path) -> None:
    folder = str(make_tiny_tokenizer(tmp_path))
    found = load_tokenizer(TokenizerSource(model=folder, template="x", eos_token="<|im_end|>"))
    assert (found.chat_template, found.eos_token_id) == ("x", 2)
    with pytest.raises(UnknownEos, match="'</s>' is not in the tokenizer's vocabulary"):
        load_tokenizer(TokenizerSource(model=folder, eos_token="</s>"))


def test_a_class_of_its_own_is_loaded_where_it_is_trusted(tmp_path: Path) -> None:
    folder = of_its_own_class(make_tiny_tokenizer(tmp_path))
    trusted = TokenizerSource(model=str(folder), trust_remote_code=True)
    assert type(load_tokenizer(trusted)).__name__ == "HouseTokenizer"
    with pytest.raises(Exception, match=r"house_tokens|trust_remote_code|HouseTokenizer"):
        load_tokenizer(TokenizerSource(model=str(folder)))


def test_a_class_of_its_own_is_loaded_from_where_it_was_saved(tmp_path: Path) -> None:
    folder = of_its_own_class(make_tiny_tokenizer(tmp_path / "model"))
    tokenizer = load_tokenizer(TokenizerSource(model=str(folder), trust_remote_code=True))
    tokenizer.save_pretrained(tmp_path / "saved")
    keep_own_files(tokenizer, tmp_path / "saved")
    saved = TokenizerSource(model=str(tmp_path / "saved"), trust_remote_code=True)
    assert load_tokenizer(saved)("2 + 3")["input_ids"] == tokenizer("2 + 3")["input_ids"]


def test_of_a_known_class_nothing_is_copied(tmp_path: Path) -> None:
    folder = make_tiny_tokenizer(tmp_path / "model")
    (folder / "vocab.json").write_text("{}")
    (tmp_path / "saved").mkdir()
    keep_own_files(load_tokenizer(TokenizerSource(model=str(folder))), tmp_path / "saved")
    assert not list((tmp_path / "saved").iterdir())
