"""Flags of an engine that would not start, or would start another server than is recorded, are told
before anything queues: by their names, values, and what the harness sets itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config.engine_flags.definitions import recorded
from harness.config.engines import ENGINES, EngineKind
from harness.config.judge import JudgeSpec
from harness.config.server import ServerSpec
from harness.config.site import Site
from harness.preflight.evaluation import flags as module
from harness.preflight.evaluation.flags import check_flags, check_settings
from harness.preflight.evaluation.judge import _check_served
from harness.preflight.evaluation.known_flags import Known
from harness.preflight.findings import Finding
from tests.preflight.support import MARKED, model, saved_dataset
from tests.verbs.test_common import command

PLACE = "evaluation.server.flags."


@pytest.fixture(params=[True, False], ids=["its own", "another version's"])
def exact(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the flags are of the very version that will serve."""
    of_that_version = bool(request.param)

    def known(kind: EngineKind, site: Site) -> Known:
        why = "" if of_that_version else "99.0 will serve, and did not tell its own"
        return Known(recorded(kind.name), of_that_version, why)

    monkeypatch.setattr(module, "known_flags", known)
    return of_that_version


def found(engine: str, flags: dict[str, Any]) -> list[Finding]:
    return check_flags(ServerSpec(engine=engine, flags=flags), Site(), PLACE)


@pytest.mark.parametrize(
    ("engine", "flags"),
    [
        ("vllm", {}),
        ("vllm", {"enable_prefix-caching": True, "max_num_seqs": 16, "enforce-eager": False}),
        ("vllm", {"no-enable-prefix-caching": True, "max-num-batched-tokens": "8k"}),
        ("vllm", {"compilation-config": '{"mode": 3}', "kv-transfer-config.kv_role": "kv_both"}),
        ("vllm", {"compilation_config.mode": 3, "compilation_config.pass_config.fuse_norm": True}),
        ("vllm", {"headless": False, "seed": 0, "moe-backend": "Deep-GEMM"}),
        ("vllm", {"cudagraph-capture-sizes": "1 2 4", "quantization": "fp8"}),
        ("sglang", {"max-total-tokens": 8192, "attention-backend": "torch_native"}),
        ("sglang", {"enable-hicache": True, "dllm-fdfo": False, "skip-server-warmup": False}),
        ("transformers", {"device": "cpu", "continuous_batching": True, "cb_num_blocks": 64}),
        ("transformers", {"enable-cors": False, "chat-template-kwargs": '{"a": 1}'}),
    ],
)
@pytest.mark.usefixtures("exact")
def test_what_the_engine_takes_is_no_finding(engine: str, flags: dict[str, Any]) -> None:
    assert found(engine, flags) == []


WRONG = [
    ("vllm", "no-such-flag", 1, "vllm has no flag --no-such-flag"),
    ("vllm", "enforce-egaer", True, "--enforce-egaer; did you mean 'enforce-eager'?"),
    ("vllm", "Max-Num-Seqs", 1, "vllm has no flag --Max-Num-Seqs"),
    ("vllm", "enforce_eager", 1, "--enforce-eager is a switch: write enforce-eager: true"),
    ("vllm", "enforce_eager", "true", "--enforce-eager is a switch"),
    ("vllm", "no-enforce-eager", False, "is switched as enforce-eager: true or false"),
    ("vllm", "max-num-seqs", True, "--max-num-seqs takes a whole number, not true"),
    ("vllm", "max-num-seqs", 1.5, "takes a whole number, not '1.5'"),
    ("vllm", "scheduling-policy", "fair", "'fair' is none of its values: fcfs, priority"),
    ("vllm", "compilation-config", "{mode: 3}", "takes a JSON object, as text in quotes"),
    ("vllm", "max-num-seqs.x", 1, "--max-num-seqs has no keys: its value is one text"),
    ("sglang", "compilation-config.mode", 1, "sglang has no flag --compilation-config"),
    ("sglang", "max-num-seqs", 1, "sglang has no flag --max-num-seqs"),
    ("sglang", "attention-backend", "torch", "'torch' is none of its values: "),
    ("sglang", "cuda-graph-bs-decode", "1,2", "takes a whole number, not '1,2'"),
    ("sglang", "skip-server-warmup", "yes", "is a switch: write skip-server-warmup: true"),
    ("transformers", "devise", "cpu", "--devise; did you mean 'device'?"),
    ("transformers", "cb-num-block", 1, "--cb-num-block; did you mean 'cb-num-blocks'"),
    ("transformers", "reasoning", "maybe", "'maybe' is none of its values: on, off, auto"),
]


@pytest.mark.parametrize(("engine", "name", "value", "told"), WRONG)
def test_what_it_does_not_take_is_an_error_by_its_own_flags_and_a_warning_by_others(
    exact: bool, engine: str, name: str, value: Any, told: str
) -> None:
    (one,) = found(engine, {name: value})
    assert one.place == PLACE + name
    assert told in one.message
    known = recorded(engine)
    assert known is not None
    if exact:
        assert one.level == "error" and one.message.endswith(f"({engine} {known.version})")
    else:
        assert one.level == "warning"
        assert one.cure == (
            f"By the flags of {engine} {known.version}, which are recorded; "
            "99.0 will serve, and did not tell its own"
        )


OWN = [
    ("vllm", "port", 1234, "Set `server.port` instead"),
    ("vllm", "model", "x", "The model is MODEL, train.model_name or judge.serve.model"),
    ("vllm", "API_KEY", "x", "Leave it out"),
    ("vllm", "tensor_parallel_size", 2, "Set `server.tensor_parallel` instead"),
    ("vllm", "max-model-len", "8k", "Set `server.max_model_len` instead"),
    ("vllm", "device-memory-utilization", 0.5, "Set `server.gpu_memory_utilization` instead"),
    ("vllm", "hf-token", "secret", "Export HF_TOKEN in the shell that submits: "),
    ("vllm", "no-enable-lora", True, "Give `serve --lora NAME=FOLDER`, which sets it"),
    ("vllm", "uds", "/s", "Leave it out"),
    ("sglang", "model_path", "x", "The model is MODEL, "),
    ("sglang", "dp-size", 2, "Set `server.data_parallel` instead"),
    ("sglang", "data-parallel-size", 2, "Set `server.data_parallel` instead"),
    ("sglang", "context-length", 9, "Set `server.max_model_len` instead"),
    ("sglang", "lora_paths", "a=/a", "Give `serve --lora NAME=FOLDER`, which sets it"),
    ("sglang", "config", "f.yaml", "Leave it out"),
    ("transformers", "dtype", "float32", "Set `server.dtype` instead"),
    ("transformers", "host", "0.0.0.0", "Leave it out"),
]


@pytest.mark.parametrize(("engine", "name", "value", "cure"), OWN)
@pytest.mark.usefixtures("exact")
def test_what_the_harness_sets_is_an_error_with_what_to_set_instead(
    engine: str, name: str, value: Any, cure: str
) -> None:
    (one,) = found(engine, {name: value})
    assert (one.level, one.place) == ("error", PLACE + name)
    assert one.message == "the harness sets this flag itself"
    assert one.cure.startswith(cure)


@pytest.mark.parametrize(
    ("engine", "name", "told", "cure"),
    [
        ("vllm", "por", "vllm reads --por as the beginning of port", "Set `server.port` instead"),
        ("vllm", "served-mod", "of served-model-name", "Leave it out"),
        ("sglang", "tp", "of tp-size", "Set `server.tensor_parallel` instead"),
        ("sglang", "api", "of api-key", "Leave it out"),
    ],
)
@pytest.mark.usefixtures("exact")
def test_the_beginning_of_what_the_harness_sets_is_an_error(
    engine: str, name: str, told: str, cure: str
) -> None:
    """argparse would take it for the whole name, and the user's would win."""
    (one,) = found(engine, {name: 1})
    assert (one.level, one.cure) == ("error", cure)
    assert one.message.endswith(f"{told}, which the harness sets itself")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("max-num-se", "vllm reads --max-num-se as the beginning of max-num-seqs: write the whole"),
        ("enable-prefix", "as the beginning of enable-prefix-caching: write the whole name"),
        ("max", "as the beginning of max-log-len or max-model-len or max-logprobs or …: write"),
    ],
)
def test_the_beginning_of_another_flag_is_to_be_written_out(
    exact: bool, name: str, told: str
) -> None:
    (one,) = found("vllm", {name: 1})
    assert one.level == ("error" if exact else "warning")
    assert told in one.message


@pytest.mark.parametrize(
    ("engine", "flags", "first"),
    [
        ("vllm", {"max_num_seqs": 1, "max-num-seqs": 2}, "max_num_seqs"),
        ("vllm", {"enforce-eager": True, "no-enforce-eager": True}, "enforce-eager"),
        ("sglang", {"enable-hierarchical-cache": True, "enable_hicache": True},
         "enable-hierarchical-cache"),
        ("sglang", {"enable-amd-monokernel": True, "monokernel-backend": "amd"},
         "enable-amd-monokernel"),
        ("transformers", {"enable_cors": True, "no-enable-cors": True}, "enable_cors"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("exact")
def test_what_is_given_twice_under_two_names_is_told(
    engine: str, flags: dict[str, Any], first: str
) -> None:
    (one,) = found(engine, flags)
    second = next(name for name in flags if name != first)
    assert (one.level, one.place) == ("error", PLACE + second)
    assert one.message == f"given twice: {first} sets the same"


def test_keys_of_one_configuration_are_not_the_same_flag(exact: bool) -> None:
    assert found("vllm", {"compilation-config.mode": 3, "compilation-config.level": 1}) == []
    twice = {"compilation-config.mode": 3, "compilation_config.mode": 2}
    assert [f.level for f in found("vllm", twice)] == ["error"]


def test_of_an_engine_whose_flags_nobody_knows_only_the_harness_s_own_are_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "known_flags", lambda kind, site: Known(None, False))
    (one,) = found("vllm", {"anything": 1})
    assert (one.level, one.place) == ("note", "evaluation.server.flags")
    assert one.message == "which flags vllm has is not known here: these are not checked"
    errors = [f for f in found("vllm", {"port": 1, "por": 2, "x": 3}) if f.level == "error"]
    assert [f.place for f in errors] == [f"{PLACE}port", f"{PLACE}por"]


def test_a_setting_that_the_engine_does_not_have_is_told(exact: bool) -> None:
    server = ServerSpec(engine="transformers", max_model_len=64, reasoning_parser="qwen3",
                        tensor_parallel=1, data_parallel=2)  # fmt: skip
    told = check_settings(server, "server")
    assert {f.place for f in told} == {
        "server.max_model_len", "server.reasoning_parser", "server.data_parallel",
    }  # fmt: skip
    for engine in ("vllm", "sglang"):
        assert check_settings(ServerSpec(engine=engine, max_model_len=64), "server") == []
    for name in ENGINES["transformers"].lacks:
        assert name in ServerSpec.model_fields


def test_a_judge_s_server_is_checked_as_well(exact: bool, tmp_path: Path) -> None:
    served = {"model": str(model(tmp_path / "m")), "server": {"flags": {"port": 1, "dtype": "x"}}}
    places = {f.place for f in _check_served(JudgeSpec.model_validate({"serve": served}), Site())
              if f.level == "error"}  # fmt: skip
    assert places == {f"evaluation.judge.serve.server.flags.{name}" for name in ("port", "dtype")}


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    model(tmp_path / "model")
    saved_dataset(tmp_path / "data")
    (tmp_path / "template.jinja").write_text(MARKED)
    flags = {"devise": "cpu", "port": 8000}
    data = {
        "train": {"model_name": "model", "dataset_name": "data", "max_steps": 1, "use_cpu": True,
                  "chat_template_path": "template.jinja"},
        "evaluation": {"benchmarks": ["arithmetic"],
                       "server": {"engine": "transformers", "gpus": 0, "flags": flags}},
    }  # fmt: skip
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(data))
    return tmp_path


@pytest.mark.long
def test_by_the_command_line_a_wrong_flag_stops_everything_with_its_cure(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="it is the engine that is installed here")
    monkeypatch.chdir(spec)
    local = ("--set-site", "scheduler=local")
    assert command("submit", "spec.yaml", *local) == 2
    told = capsys.readouterr().err
    assert (
        "error: spec.yaml:7: evaluation.server.flags.devise: transformers has no flag --devise; "
        "did you mean 'device'?" in told
    )
    assert (
        "error: spec.yaml:8: evaluation.server.flags.port: the harness sets this flag itself\n"
        "  Set `server.port` instead" in told
    )
    assert not (spec / "runs").exists()
    dashed = "evaluation.server.flags={--foo: true}"
    assert command("check", "spec.yaml", "--set", dashed) == 2
    told = capsys.readouterr().err
    assert "evaluation.server.flags.--foo: a flag is named without its dashes: foo" in told
    flag = ("--engine", "transformers", "--flag", "devise=cpu")
    assert command("serve", "model", *flag, *local, "--json", "--dry-run") == 2
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert "--flag devise" in [f["place"] for f in findings if f["level"] == "error"]
