"""A user's fields: what the record says, and what the environment that trains says once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.config.site import Site
from harness.errors import UserError
from harness.preflight.training import fields as module
from harness.preflight.training.fields import check_fields
from tests.preflight.support import MARKED, model, saved_dataset
from tests.preflight.training.test_recorded_fields import spec

HERE = Site()
CLOSED = Site.model_validate({"environments": {"train": {"container": "/images/train.sif"}}})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_plain_run_waits_for_nobodys_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> str:
        raise AssertionError("nothing is to be asked")

    monkeypatch.setattr(module, "said", never)
    monkeypatch.setattr(module, "versions", never)
    assert check_fields(spec(), HERE) == []
    assert check_fields(spec(use_peft=True, lora_target_modules=["q_proj"]), HERE) == []


@pytest.mark.long
def test_the_real_configuration_refuses_what_no_record_holds_and_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    pytest.importorskip("trl", reason="needs the extra `train`")
    train = spec(accelerator_config={"split_batch": True}, optim="lomo")
    found = check_fields(train, HERE)
    assert [f.place for f in found] == ["train.optim", "train.accelerator_config"]
    assert "needs lomo_optim" in found[0].message and found[0].cure == "pip install lomo-optim"
    assert "refused by trl" in found[1].message and "split_batch" in found[1].message
    assert len(list(cache.rglob("training_fields/*.json"))) == 1
    monkeypatch.setattr(module, "said", lambda *_, **__: pytest.fail("it was kept"))
    assert check_fields(train, HERE) == found


def test_where_the_environment_cannot_be_asked_the_record_decides() -> None:
    found = check_fields(spec(optim="paged_adamw_8bit", eval_strategy="steps"), CLOSED)
    assert [(f.level, f.place) for f in found] == [
        ("error", "train.eval_strategy"),
        ("note", "train.optim"),
    ]


def test_what_saves_only_the_model_is_warned_of_with_what_saves_disk_safely() -> None:
    found = check_fields(spec(save_only_model=True), CLOSED)
    assert [(f.level, f.place) for f in found] == [("warning", "train.save_only_model")]
    assert "prune: optimizer" in found[0].cure


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("eval_strategy: steps", "train.eval_strategy: there is no evaluation set"),
        ("lr_scheduler_type: cosin", "did you mean 'cosine'?"),
        ("fp16: true", "train.fp16: both fp16 and bf16"),
        ("optim: schedule_free_sgd", "optim: schedule_free_sgd needs schedulefree"),
        ("attn_implementation: sdap", "did you mean 'sdpa'"),
        ("pad_token: '<|no|>'", "train.pad_token: '<|no|>' is not in the tokenizer's vocabulary"),
        ("max_seq_length: 512", "train.max_seq_length: unknown key: write max_length"),
        ("warmup_ratio: 0.1", "write warmup_steps, a share"),
        ("sft: {optim_args: x}", "train.optim_args: refused by trl"),
    ],
)
def test_check_says_where_what_and_how_to_cure_it(tmp_path: Path, line: str, says: str) -> None:
    pytest.importorskip("trl", reason="needs the extra `train`")
    model(tmp_path / "model")
    saved_dataset(tmp_path / "data")
    (tmp_path / "t.jinja").write_text(MARKED)
    train = {"model_name": "model", "dataset_name": "data", "chat_template_path": "t.jinja",
             "max_steps": 2}  # fmt: skip
    train = {k: str(tmp_path / v) if isinstance(v, str) else v for k, v in train.items()}
    text = yaml.safe_dump({"name": "r", "train": train}) + f"  {line}\n"
    (tmp_path / "sft.yaml").write_text(text)
    command = ["check", str(tmp_path / "sft.yaml"), "--set-site", f"runs_dir={tmp_path}/runs"]
    done = CliRunner().invoke(app, command)
    shown = f"{done.output}\n{done.exception}"
    assert done.exit_code == 2 or isinstance(done.exception, UserError), shown
    place = f"sft.yaml:{len(text.splitlines())}: "
    (told,) = [line for line in shown.splitlines() if says in line]
    assert place in told
