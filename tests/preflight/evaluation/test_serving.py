"""What a server would not take is found before anything queues."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.benchmarks.prepare import prepare
from harness.config.evaluation import EvaluationSpec, Sampling
from harness.config.serve import ServeSpec
from harness.config.server import ServerSpec
from harness.config.site import Site
from harness.preflight.evaluation.serving import (
    check_gpus,
    check_serve,
    check_served_folder,
    check_serving,
    check_sizes,
)
from harness.preflight.findings import Finding
from harness.runs.checkpoints import mark_complete
from tests.support import shared_data

QWEN3 = {
    "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 32768,
    "intermediate_size": 6144, "vocab_size": 151936,
}  # fmt: skip
SMOLLM2 = {
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192,
    "intermediate_size": 1536, "vocab_size": 49152,
}  # fmt: skip


def tensors(size: int = 16) -> bytes:
    entry = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": {}, "w": entry}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(size)


def model(folder: Path, config: dict[str, Any] = QWEN3) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes(tensors())
    return folder


def test_a_whole_model_that_fits_has_no_findings(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    assert check_sizes(folder, ServerSpec(), "server") == []
    assert check_served_folder(folder, "MODEL") == []


@pytest.mark.parametrize(
    ("config", "size", "message"),
    [
        (SMOLLM2, 8, "9 attention heads are not divisible by 8"),
        ({**QWEN3, "num_key_value_heads": 6}, 8, "6 key-value heads and 8 do not divide"),
        ({**QWEN3, "num_key_value_heads": 6}, 4, "6 key-value heads and 4 do not divide"),
        ({**QWEN3, "intermediate_size": 6145}, 2, "intermediate_size 6145"),
        ({"text_config": SMOLLM2}, 2, "9 attention heads"),
    ],
)
def test_parallel_sizes_that_do_not_divide(
    tmp_path: Path, config: dict[str, Any], size: int, message: str
) -> None:
    (found,) = check_sizes(
        model(tmp_path / "m", config), ServerSpec(tensor_parallel=size), "server"
    )
    assert found.place == "server.tensor_parallel"
    assert message in found.message
    assert found.cure.startswith("Possible: 1")


def test_smollm2_can_be_shared_by_one_or_three(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", SMOLLM2)
    (found,) = check_sizes(folder, ServerSpec(), "server")
    assert found.cure == "Possible: 1, 3"


def test_a_context_longer_than_the_models(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (found,) = check_sizes(folder, ServerSpec(max_model_len=40000), "server")
    assert "40000 is more than the 32768 tokens" in found.message


def test_a_folder_without_config_or_tokenizer(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in check_served_folder(folder, "MODEL")[0].message
    (folder / "config.json").unlink()
    assert "no config.json" in check_served_folder(folder, "MODEL")[0].message
    (folder / "adapter_config.json").write_text("{}")
    assert "is a LoRA adapter" in check_served_folder(folder, "MODEL")[0].message


def test_an_unmarked_checkpoint_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    mark_complete(model(folder / "checkpoint-5"))
    model(folder / "checkpoint-10")
    assert check_served_folder(folder / "checkpoint-5", "MODEL") == []
    (found,) = check_served_folder(folder / "checkpoint-10", "MODEL")
    assert found.level == "error" and "not marked complete" in found.message
    assert "checkpoint-5" in found.cure
    (foreign,) = check_served_folder(model(tmp_path / "other" / "checkpoint-7"), "MODEL")
    assert foreign.level == "note"


def test_fewer_gpus_than_the_parallel_sizes() -> None:
    (found,) = check_gpus(ServerSpec(gpus=4), "slurm", "server")
    assert "4 for tensor_parallel 8 x data_parallel 1 = 8" in found.message
    assert check_gpus(ServerSpec(gpus=0), "local", "server") == []


def room(folder: Path, max_tokens: int, **server: Any) -> list[Finding]:
    evaluation = EvaluationSpec(
        benchmarks=("arithmetic",),
        sampling=Sampling(max_tokens=max_tokens),
        server=ServerSpec(**server),
    )
    return check_serving(evaluation, Site(benchmarks_dir=str(folder / "b")), "slurm", folder)


def test_answers_as_long_as_the_context_leave_no_room(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", {**QWEN3, "max_position_embeddings": 4096})
    assert room(folder, 2048) == []
    (found,) = room(folder, 4096)
    assert "leave no room for a prompt in a context of 4096" in found.message
    assert room(folder, 4096, engine="transformers")[0].level == "warning"


@pytest.mark.parametrize(
    ("engine", "refused"), [("vllm", False), ("sglang", False), ("transformers", True)]
)
def test_an_engine_that_ns_cannot_ask_is_refused(
    tmp_path: Path, engine: str, refused: bool
) -> None:
    server = ServerSpec.model_validate({"engine": engine, "gpus": 8})
    evaluation = EvaluationSpec(benchmarks=("nemo-skills.gsm8k", "lm-eval.x"), server=server)
    found = check_serving(evaluation, Site(benchmarks_dir=str(tmp_path)), "slurm", None)
    assert [f.level for f in found] == ["error"] * refused
    if refused:
        assert "nemo-skills.gsm8k: transformers refuses fields" in found[0].message
        assert found[0].cure == "engine: vllm or sglang"


@pytest.mark.skipif(shared_data() is None, reason="no shared benchmark data here")
def test_every_turn_of_mt_bench_needs_its_room(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", {**QWEN3, "max_position_embeddings": 8192})
    prepare("mt-bench", folder / "b", shared_data())
    given = {"benchmarks": ["arithmetic", "mt-bench"], "sampling": {"max_tokens": 4096}}

    def found(**more: Any) -> list[Finding]:
        evaluation = EvaluationSpec.model_validate({**given, **more})
        return check_serving(evaluation, Site(benchmarks_dir=str(folder / "b")), "slurm", folder)

    (told,) = found()
    assert told.level == "warning"
    assert told.message.startswith("2 x 4096 tokens and the longest prompts of mt-bench (")
    assert "may not fit the context of 8192" in told.message
    assert told.cure == "Lower it, or raise evaluation.server.max_model_len"
    assert found(sampling={"max_tokens": 3600}) == []
    assert found(benchmarks=["arithmetic"]) == []
    assert found(body={"max_completion_tokens": 3600}) == []
    assert "2 x 3900 tokens" in found(body={"max_completion_tokens": 3900})[0].message
    assert found(body={"max_tokens": None}) == []  # then the server bounds them


def test_a_server_without_a_key_stays_on_loopback(tmp_path: Path) -> None:
    spec = ServeSpec(
        name="x", model=str(model(tmp_path / "m")), served_name="m", host="0.0.0.0",
        server=ServerSpec(engine="transformers"), lora_adapters={"a": str(tmp_path)},
    )  # fmt: skip
    places = {f.place for f in check_serve(spec, "slurm") if f.level == "error"}
    assert places == {"--host", "--lora", "--lora a"}
