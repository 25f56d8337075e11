"""Can the training processes share the model as asked, and is what they need installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from harness.config.site import Site
from harness.config.spec import Spec
from harness.errors import ResultError
from harness.package import needs
from harness.preflight.findings import Finding, error, note, warning
from harness.runs.files import read_json

_TIED = {"lm_head", "embed_tokens"}


def check_parallelism(spec: Spec, site: Site, model: Path | None) -> list[Finding]:
    """Findings about `train.parallelism`, `train.nodes` and LoRA. `model`: its folder, if known."""
    train = spec.train
    findings = []
    if train.parallelism in ("zero2", "zero3"):
        findings += _needs(site, "train.parallelism", "deepspeed", needs("train,deepspeed"))
        if train.bf16:
            findings.append(
                note(
                    "train.parallelism",
                    "DeepSpeed trains a bfloat16 copy of the model, and checkpoints hold that one",
                )
            )
    if train.use_peft:
        findings += _needs(site, "train.use_peft", "peft", needs("train"))
        findings += _check_tied(train.lora_modules_to_save or (), model)
    return findings


def _needs(site: Site, place: str, package: str, cure: str) -> list[Finding]:
    """A package of the role `train`: known only where that role is the submitting Python."""
    if find_spec(package) is not None:
        return []
    environment = site.environment("train")
    if environment.activate or environment.container:
        return []  # another environment, which cannot be looked into from here
    return [warning(place, f"{package} is not installed in the Python that submits", cure)]


def _check_tied(modules: tuple[str, ...], model: Path | None) -> list[Finding]:
    """A merged model saves a shared embedding once: what was trained beside it would be lost."""
    trained = sorted(_TIED & set(modules))
    if not trained or model is None:
        return []
    try:
        tied = read_json(model / "config.json").get("tie_word_embeddings", False)
    except (ResultError, AttributeError):
        return []  # check_model names it
    if not tied:
        return []
    return [
        error(
            "train.lora_modules_to_save",
            f"{', '.join(trained)}: this model shares its embedding with its output layer, and one "
            "of the two cannot be trained alone",
            "Leave it out, or train the whole model (use_peft: false)",
        )
    ]
