"""How many tokens a model's embedding has room for, from its safetensors headers. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import ResultError
from harness.runs.models.folder import text_config
from harness.runs.models.shape import tensor_shapes

_NAMES = re.compile(r"(^|\.)(embed_tokens|wte|word_embeddings|embed_in|tok_embeddings)\.weight$")


def embedding_rows(folder: Path) -> int | None:
    """Rows of the token embedding, else config.json's vocab_size; None where neither says.

    Raises ResultError for a damaged file.
    """
    shapes = tensor_shapes(folder)
    for name in sorted(shapes, key=len):
        if _NAMES.search(name) and len(shapes[name]) == 2:
            return shapes[name][0]
    try:
        size = text_config(folder).get("vocab_size")
    except ResultError:
        return None
    return size if isinstance(size, int) else None
