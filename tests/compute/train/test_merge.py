"""A LoRA checkpoint becomes one model: the same function, made once, by whoever comes first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import ROOT

pytest.importorskip("peft", reason="needs the extra `train`")

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.chats.tokenizer import TokenizerSource, load_tokenizer
from harness.compute.train import merge
from harness.compute.train.merge import merged_model
from harness.errors import ResultError
from harness.runs.checkpoints import fingerprint, mark_complete
from harness.runs.files import read_json
from tests.chats.test_tokenizer import of_its_own_class
from tests.tiny_model import make_tiny_model

PROJECT = ROOT
TEMPLATE = (PROJECT / "templates" / "chat" / "qwen3.jinja").read_text()


def make_adapter(folder: Path, base: Path, **lora: object) -> Path:
    """A checkpoint as training leaves it, with an adapter that is not zero."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base)
    config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=4, **lora)
    adapted = get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    adapted.generation_config.save_pretrained(folder)
    mark_complete(folder, dtype="float32")
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    base = make_tiny_model(tmp_path / "base", chat_template=TEMPLATE)
    return make_adapter(tmp_path / "checkpoint-3", base)


@pytest.mark.parametrize("lora", [{}, {"use_rslora": True}, {"use_dora": True}], ids=str)
def test_the_merged_model_computes_what_base_and_adapter_compute(
    tmp_path: Path, lora: dict[str, object]
) -> None:
    base = make_tiny_model(tmp_path / "base")
    checkpoint = make_adapter(tmp_path / "checkpoint-3", base, **lora)
    plain = AutoModelForCausalLM.from_pretrained(base)
    ids = torch.arange(64)[None]
    with torch.no_grad():
        without = plain(ids).logits
        expected = PeftModel.from_pretrained(plain, str(checkpoint))(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(merged_model(checkpoint))(ids).logits
    assert float((merged - expected).abs().max()) < 1e-5
    assert float((merged - without).abs().max()) > 1e-2  # the adapter does something


def test_tokenizer_template_and_generation_config_come_along(checkpoint: Path) -> None:
    folder = merged_model(checkpoint)
    for name in ("generation_config.json", "chat_template.jinja", "tokenizer.json"):
        assert (folder / name).read_bytes() == (checkpoint / name).read_bytes()
    assert (folder / "model.safetensors").stat().st_mode == (folder / "config.json").stat().st_mode
    marker = read_json(folder / "HARNESS_MERGED.json")
    assert marker["fingerprint"] == fingerprint(folder)
    assert marker["adapter"] == fingerprint(checkpoint)
    assert folder.name == f"merged-{fingerprint(checkpoint)}"


def test_a_tokenizer_of_its_own_class_comes_along_where_it_was_trusted(tmp_path: Path) -> None:
    base = make_tiny_model(tmp_path / "base", chat_template=TEMPLATE)
    checkpoint = make_adapter(tmp_path / "checkpoint-3", base)
    of_its_own_class(checkpoint)
    with pytest.raises(Exception, match=r"house_tokens|trust_remote_code|HouseTokenizer"):
        merged_model(checkpoint)
    mark_complete(checkpoint, dtype="float32", config={"trust_remote_code": True})
    source = TokenizerSource(model=str(merged_model(checkpoint)), trust_remote_code=True)
    merged = load_tokenizer(source)
    assert type(merged).__name__ == "HouseTokenizer"
    known = AutoTokenizer.from_pretrained(base)
    text = "<|im_start|>user\n2 + 3?<|im_end|>"
    assert merged(text)["input_ids"] == known(text)["input_ids"]


def test_a_whole_model_is_served_as_it_is(tmp_path: Path) -> None:
    assert merged_model(make_tiny_model(tmp_path / "m")) == tmp_path / "m"


def start(checkpoint: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness.compute.train.merge", str(checkpoint)],
        cwd=PROJECT, env={**os.environ}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.long
def test_of_two_tasks_one_merges_and_both_get_the_folder(checkpoint: Path) -> None:
    tasks = [start(checkpoint), start(checkpoint)]
    outputs = [task.communicate(timeout=120) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], outputs
    (folder,) = checkpoint.glob("merged-*")
    assert [out.splitlines()[-1] for out, _ in outputs] == [str(folder)] * 2
    assert sum("Writing model shards" in errors for _, errors in outputs) == 1
    assert not list(checkpoint.glob(".merged-*.tmp"))
    marker = (folder / "HARNESS_MERGED.json").stat().st_mtime_ns
    assert merged_model(checkpoint) == folder
    assert (folder / "HARNESS_MERGED.json").stat().st_mtime_ns == marker


@pytest.mark.long
def test_a_merge_that_was_killed_is_made_again(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a dead holder, on this machine or another one, holds nobody up for ever."""
    from filelock import SoftFileLease

    monkeypatch.setattr(merge, "LEASE_S", 2.0)
    name = f"merged-{fingerprint(checkpoint)}"
    held = SoftFileLease(checkpoint / f".{name}.lock", lease_duration=2.0)
    held.acquire()
    text = (checkpoint / f".{name}.lock").read_text()
    held.release()
    elsewhere = text.replace(str(os.getpid()), "4194303").replace(os.uname().nodename, "gpu-77")
    (checkpoint / f".{name}.lock").write_text(elsewhere)
    half = checkpoint / f".{name}.gpu-77-4194303.tmp"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    began = time.monotonic()
    folder = merged_model(checkpoint)
    assert time.monotonic() - began >= 2
    assert (folder / "HARNESS_MERGED.json").is_file()
    assert not half.exists()


def test_another_base_than_was_trained_on_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(ResultError, match="its base model is gone"):
        merged_model(checkpoint)
    make_tiny_model(tmp_path / "base", seed=5)
    with pytest.raises(ResultError, match="not what was trained"):
        merged_model(checkpoint)


def test_an_unmarked_adapter_is_refused(checkpoint: Path) -> None:
    (checkpoint / "HARNESS_COMPLETE.json").unlink()
    with pytest.raises(ResultError, match="is not complete"):
        merged_model(checkpoint)
