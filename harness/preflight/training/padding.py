"""Is there a token to pad with: TRL takes `pad_token`, else the tokenizer's own, else its end token.

Source: trl 1.16, SFTTrainer.__init__. Read from tokenizer.json (the tokenizers library's format) and
tokenizer_config.json; a tokenizer of another form is not looked into.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.config.training.train import TrainSpec
from harness.errors import ResultError, nearest, quoted
from harness.preflight.findings import Finding, error
from harness.runs.files import read_object


def check_padding(train: TrainSpec, folder: Path | None) -> list[Finding]:
    """Findings about the token that rows of a batch are padded with."""
    if folder is None or not (folder / "tokenizer.json").is_file():
        return []
    try:
        own = _own_token(folder)
        given = train.sft.get("pad_token")
        word = given or own or train.eos_token
        if word is None:
            text = "the tokenizer has neither a padding token nor an end token"
            return [error("train.pad_token", text, "Set pad_token to one of its tokens")]
        if given is None and word != own:
            return []  # eos_token, which is looked at by itself
        known = _vocabulary(folder)
    except ResultError:
        return []  # the tokenizer itself says so
    if not known or word in known:
        return []
    text = f"{quoted(word)!r} is not in the tokenizer's vocabulary{nearest(word, _special(folder))}"
    return [error("train.pad_token", text, "Leave it out: the tokenizer's own is taken")]


def _own_token(folder: Path) -> str | None:
    """The tokenizer's padding token, else its end token."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            config |= read_object(folder / name)
    for name in ("pad_token", "eos_token"):
        value = config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str) and value:
            return value
    return None


def _vocabulary(folder: Path) -> set[str]:
    data = read_object(folder / "tokenizer.json")
    model = data.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocab, list):  # Unigram: [token, score]
        vocab = [entry[0] for entry in vocab if isinstance(entry, list) and entry]
    return {str(token) for token in vocab or ()} | set(_special(folder))


def _special(folder: Path) -> list[str]:
    """Tokens that were added to the vocabulary."""
    added = read_object(folder / "tokenizer.json").get("added_tokens")
    found = (
        [e.get("content") for e in added if isinstance(e, dict)] if isinstance(added, list) else []
    )
    config = folder / "tokenizer_config.json"
    decoder = read_object(config).get("added_tokens_decoder") if config.is_file() else None
    if isinstance(decoder, dict):
        found += [e.get("content") for e in decoder.values() if isinstance(e, dict)]
    return [str(token) for token in found]
