"""The tokenizer as it is trained with, loaded in one way: for `check`, for tokenising, for training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from harness.config.base import Frozen
from harness.errors import UserError
from harness.runs.models.folder import find_model


class TokenizerSource(Frozen):
    """Which tokenizer, and what is set in it before it is used."""

    model: str
    """A folder with a tokenizer, or an id on the Hub."""
    template: str | None = None
    """Text of the chat template; None: the tokenizer's own."""
    eos_token: str | None = None
    trust_remote_code: bool = False
    """It may bring a class of its own."""
    revision: str | None = None
    """Of an id on the Hub."""


class UnknownEos(UserError):
    """The end token that was asked for is not in the vocabulary."""


def load_tokenizer(source: TokenizerSource) -> Any:
    """The tokenizer with template and end token set, as SFTTrainer sets them.

    Raises UnknownEos, and whatever transformers raises.
    """
    from transformers import AutoTokenizer

    options = {"revision": source.revision} if source.revision else {}
    tokenizer = AutoTokenizer.from_pretrained(
        source.model, trust_remote_code=source.trust_remote_code, **options
    )
    if source.eos_token is not None:
        if source.eos_token not in tokenizer.get_vocab():
            raise UnknownEos(
                f"eos_token: {source.eos_token!r} is not in the tokenizer's vocabulary"
            )
        tokenizer.eos_token = source.eos_token
    if source.template is not None:
        tokenizer.chat_template = source.template
    return tokenizer


def keep_own_files(tokenizer: Any, folder: Path) -> None:
    """Copy to where a tokenizer was saved what a class of its own reads and transformers did not save.

    `save_pretrained` writes tokenizer.json whatever file the class names (transformers 5.23): such a
    tokenizer could not be loaded from any checkpoint.
    """
    if not type(tokenizer).__module__.startswith("transformers_modules"):
        return
    source = find_model(tokenizer.name_or_path) or Path(tokenizer.name_or_path)
    for name in tokenizer.vocab_files_names.values():
        if (source / name).is_file() and not (folder / name).exists():
            shutil.copyfile(source / name, folder / name)
