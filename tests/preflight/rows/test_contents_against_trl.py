"""What the checks say of hostile data is what the real SFTTrainer does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.config.training.train import TrainSpec
from harness.preflight.rows.contents import check_rows
from harness.preflight.rows.dataset import check_dataset
from harness.preflight.rows.tokens import check_tokens
from tests.preflight.support import TEMPLATES, turn
from tests.tiny_model import make_tiny_model

pytest.importorskip("trl", reason="TRL is not installed")

QUESTION = [{"role": "user", "content": "?"}]
LONG = turn("word " * 300)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("trl") / "model")


def prepared(tiny: Path, rows: list[Any], template: Path, column: str) -> Any:
    """The dataset as the real trainer prepares it."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    config = SFTConfig(
        output_dir=str(template.parent / "out"), assistant_only_loss=True, max_length=96,
        chat_template_path=str(template), use_cpu=True, report_to="none", bf16=False,
    )  # fmt: skip
    data = Dataset.from_list([{column: row} for row in rows])
    return SFTTrainer(model=str(tiny), args=config, train_dataset=data).train_dataset


def levels(tiny: Path, rows: list[Any], template: Path, column: str) -> set[str]:
    """Levels of what the checks find in the same data, saved."""
    from datasets import Dataset

    folder = template.parent / "data"
    Dataset.from_list([{column: row} for row in rows]).save_to_disk(folder)
    train = TrainSpec(
        model_name=str(tiny), dataset_name=str(folder), chat_template_path=str(template),
        max_length=96,
    )  # fmt: skip
    dataset, findings = check_dataset(train)
    assert dataset is not None
    data = check_rows(train, dataset)
    findings += data.findings
    return {f.level for f in findings + check_tokens(train, str(tiny), dataset, data)[1]}


@pytest.mark.long
@pytest.mark.parametrize(
    ("rows", "column", "outcome"),
    [
        ([turn()] * 3, "messages", "trains"),
        ([turn(), QUESTION], "messages", "fails"),
        ([turn(), []], "messages", "fails"),
        ([turn(), turn(answer="")], "messages", "warns"),
        ([LONG, LONG], "messages", "empty"),
        ([turn(), LONG], "messages", "warns"),
        (["text"], "text", "fails"),
        ([[{"from": "human", "value": "?"}]], "conversations", "fails"),
    ],
    ids=["good", "no-assistant", "empty-messages", "empty-answer", "all-cut", "one-cut", "text",
         "conversations"],
)  # fmt: skip
def test_findings_agree_with_trl(
    tiny: Path, tmp_path: Path, rows: list[Any], column: str, outcome: str
) -> None:
    template = tmp_path / "t.jinja"
    template.write_text((TEMPLATES / "qwen3_nonthinking.jinja").read_text(encoding="utf-8"))
    found = levels(tiny, rows, template, column)
    if outcome == "fails":
        with pytest.raises(Exception):  # noqa: B017, PT011  (TRL raises several, none helpful)
            prepared(tiny, rows, template, column)
        assert "error" in found
        return
    data = prepared(tiny, rows, template, column)
    assert (len(data) == 0) == (outcome == "empty") == ("error" in found)
    assert ("warning" in found) == (outcome == "warns")


def test_lengths_and_masks_are_trls_own(tiny: Path, tmp_path: Path) -> None:
    from harness.chats.tokenizing import Request, answer

    template = tmp_path / "t.jinja"
    template.write_text((TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8"))
    rows = [turn("word " * n, "answer " * (n % 7)) for n in range(1, 40, 3)]
    data = prepared(tiny, rows, template, "messages")
    request = Request(
        model=str(tiny), template=template.read_text(), max_length=96,
        rows=tuple({"messages": row} for row in rows),
    )  # fmt: skip
    ours = [row for row in answer(request).rows if row.trained]
    assert len(ours) == len(data) < len(rows)
    for row, theirs in zip(ours, data, strict=True):
        assert min(row.length, 96) == len(theirs["input_ids"])
        assert row.trained == sum(label != -100 for label in theirs["labels"])
