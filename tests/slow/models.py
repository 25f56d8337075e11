"""Models and adapters that answer differently, and what transformers answers with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT
from tests.tiny_model import make_tiny_model

TEMPLATE = (ROOT / "templates" / "chat" / "chatml.jinja").read_text(encoding="utf-8")
TOKENS = 16
PROMPT = "What is the sum of two and three?"


@dataclass(frozen=True)
class Models:
    """Two models whose greedy answers differ, and LoRA adapters of the first."""

    one: Path
    other: Path
    adapters: dict[str, str]
    """`zero` as PEFT makes it; `a` and `b` as if they were trained."""


def make_models(folder: Path) -> Models:
    """Write them all."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    one, other = (
        make_tiny_model(folder / name, chat_template=TEMPLATE, seed=seed, initializer_range=0.4)
        for seed, name in enumerate(("one", "other"))
    )
    adapters = {}
    for seed, name in enumerate(("zero", "a", "b")):
        torch.manual_seed(seed)
        # All of attention: SGLang's layers take q, k and v together.
        layers = LoraConfig(
            r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]
        )
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(one), layers)
        for parameter, weights in model.named_parameters():
            if name != "zero" and "lora_B" in parameter:
                torch.nn.init.normal_(weights, std=0.2)
        model.save_pretrained(folder / name)
        adapters[name] = str(folder / name)
    return Models(one, other, adapters)


def greedy(model: Path, adapter: str | None = None, *, prompt: str = PROMPT) -> str:
    """What transformers answers in float32, as text without special tokens."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if adapter:
        loaded = PeftModel.from_pretrained(loaded, adapter)
    messages = [{"role": "user", "content": prompt}]
    asked = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        found = loaded.generate(**asked, max_new_tokens=TOKENS, do_sample=False)
    text: str = tokenizer.decode(found[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    return text
