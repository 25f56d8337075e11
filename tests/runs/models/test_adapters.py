"""An adapter's weights: are they zero, and are they another's."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultError
from harness.runs.models.adapters import changes_nothing, identity

_FORMATS = {"F32": "<f", "F16": "<e", "F64": "<d"}


def safetensors(file: Path, tensors: dict[str, list[float]], dtype: str = "F32") -> None:
    """Write numbers as huggingface/safetensors lays them out."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, values in tensors.items():
        part = b"".join(_packed(value, dtype) for value in values)
        header[name] = {"dtype": dtype, "shape": [len(values)],
                        "data_offsets": [len(data), len(data) + len(part)]}  # fmt: skip
        data += part
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


def _packed(value: float, dtype: str) -> bytes:
    return struct.pack("<f", value)[2:] if dtype == "BF16" else struct.pack(_FORMATS[dtype], value)


def adapter(
    folder: Path, *, b: list[float], a: tuple[float, ...] = (1.0,), dtype: str = "F32",
    extra: dict[str, list[float]] | None = None, **config: Any,
) -> Path:  # fmt: skip
    """A LoRA adapter of one layer, as PEFT saves it."""
    folder.mkdir(parents=True)
    settings = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    layer = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{layer}.lora_A.weight": list(a), f"{layer}.lora_B.weight": b, **(extra or {})}
    safetensors(folder / "adapter_model.safetensors", tensors, dtype)
    return folder


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
@pytest.mark.parametrize(
    ("b", "zero"), [([0.0, 0.0], True), ([0.0, -0.0], True), ([0.0, 2**-14], False),
                    ([-1.0, 0.0], False)],
)  # fmt: skip
def test_an_adapter_is_zero_where_its_second_factor_is(
    tmp_path: Path, dtype: str, b: list[float], zero: bool
) -> None:
    assert changes_nothing(adapter(tmp_path / "a", b=b, dtype=dtype)) is zero


def test_or_its_first_or_its_scaling(tmp_path: Path) -> None:
    assert changes_nothing(adapter(tmp_path / "a", a=(0.0,), b=[1.0]))
    assert changes_nothing(adapter(tmp_path / "scaled", b=[1.0], lora_alpha=0))
    patterned = adapter(tmp_path / "p", b=[1.0], lora_alpha=0, alpha_pattern={"q_proj": 1})
    assert not changes_nothing(patterned)


@pytest.mark.parametrize(
    ("extra", "zero"),
    [
        ({"x.v_proj.lora_A.weight": [1.0], "x.v_proj.lora_B.weight": [0.0]}, True),
        ({"x.v_proj.lora_A.weight": [1.0], "x.v_proj.lora_B.weight": [1.0]}, False),
        ({"x.embed.lora_embedding_A": [1.0], "x.embed.lora_embedding_B": [0.0]}, True),
        ({"x.embed.lora_embedding_A": [1.0], "x.embed.lora_embedding_B": [0.5]}, False),
        ({"x.lm_head.weight": [0.0]}, False),  # a head of its own replaces the base's
        ({"x.q_proj.lora_magnitude_vector": [0.0]}, False),
    ],
)
def test_all_of_its_layers_count(tmp_path: Path, extra: dict[str, list[float]], zero: bool) -> None:
    assert changes_nothing(adapter(tmp_path / "a", b=[0.0], extra=extra)) is zero


def test_weights_that_cannot_be_read_are_not_zero(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a", b=[0.0] * 8)
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    for torn in (b"", whole[:4], whole[:40], whole[:-4], b"\xff" * 64):
        weights.write_bytes(torn)
        with pytest.raises(ResultError, match=r"adapter_model\.safetensors: cannot be read"):
            changes_nothing(folder)
    weights.rename(folder / "adapter_model.bin")
    assert not changes_nothing(folder)
    (folder / "adapter_model.bin").unlink()
    with pytest.raises(ResultError, match=r"no adapter_model\.safetensors in it"):
        identity(folder)


def test_equal_weights_and_scaling_are_one_identity(tmp_path: Path) -> None:
    one = identity(adapter(tmp_path / "one", b=[1.0]))
    assert one == identity(adapter(tmp_path / "copy", b=[1.0], base_model_name_or_path="/other"))
    assert one != identity(adapter(tmp_path / "two", b=[2.0]))
    assert one != identity(adapter(tmp_path / "scaled", b=[1.0], lora_alpha=32))


@pytest.mark.long
def test_an_adapter_that_peft_has_just_made_is_zero(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="PEFT is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model = torch.nn.Sequential(torch.nn.Linear(4, 4))
    made = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["0"]))
    made.save_pretrained(tmp_path / "new")
    assert changes_nothing(tmp_path / "new")
    torch.nn.init.ones_(made.base_model.model[0].lora_B["default"].weight)
    made.save_pretrained(tmp_path / "trained")
    assert not changes_nothing(tmp_path / "trained")
