"""Arguments of a training on CPU whose rows are to be tokenised."""

from __future__ import annotations

from pathlib import Path

from tests.support import ROOT

PROJECT = ROOT
TEMPLATE = PROJECT / "templates" / "chat" / "qwen3_nonthinking.jinja"


def arguments(inputs: Path, out: Path, *more: str, data: str = "data") -> list[str]:
    return [
        "--model_name", str(inputs / "model"), "--dataset_name", str(inputs / data),
        "--output_dir", str(out), "--max_length", "48", "--assistant_only_loss", "True",
        "--chat_template_path", str(TEMPLATE), "--use_cpu", "True", "--bf16", "False",
        "--report_to", "none", "--seed", "3", *more,
    ]  # fmt: skip
