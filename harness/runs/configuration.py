"""The configuration that a checkpoint was trained with, kept in its marker. No torch.

A marker's `config` holds every plain argument of `sft.py` under its own name, and `changed` the
names whose value is not the default, so that another configuration can be told from it without
knowing TRL's defaults.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from enum import Enum
from pathlib import Path
from typing import Any

CONFIG, CHANGED, TEMPLATE = "config", "changed", "chat_template_sha256"

HARMLESS = frozenset(
    """
    output_dir run_dir expected_world_size report_to run_name project hub_token hub_model_id
    logging_steps logging_strategy logging_first_step logging_nan_inf_filter log_level
    log_level_replica log_on_each_node disable_tqdm save_steps save_strategy save_only_model
    save_total_limit gradient_checkpointing gradient_checkpointing_kwargs activation_checkpointing
    activation_checkpointing_kwargs activation_offloading dataset_num_proc dataloader_num_workers
    dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor ddp_timeout
    ddp_backend ddp_bucket_cap_mb ddp_find_unused_parameters ddp_broadcast_buffers
    attn_implementation chat_template_path use_cpu local_rank include_num_input_tokens_seen
    skip_memory_metrics torch_compile torch_compile_backend torch_compile_mode tf32
    torch_empty_cache_steps fsdp fsdp_config deepspeed parallelism_config parallelism
    accelerator_config use_liger_kernel liger_kernel_config model_init_kwargs debug
    eval_split eval_strategy eval_steps eval_delay eval_on_start eval_packing
    per_device_eval_batch_size eval_accumulation_steps eval_do_concat_batches
    eval_use_gather_object batch_eval_metrics prediction_loss_only bf16_full_eval fp16_full_eval
    do_eval trackio_space_id trackio_bucket_id trackio_static_space_id config
    """.split()  # noqa: SIM905
)
"""Arguments that change how training runs or what it writes, not what is learnt. The template
counts by its text (`chat_template_sha256`), not by its path."""


def template_digest(text: str | None) -> str | None:
    """12 hex digits of a chat template's text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else None


def record(*arguments: Any, template: str | None) -> dict[str, Any]:
    """What a marker says of the dataclasses of arguments, and the text of the template.

    An argument is `changed` by what was given (`as_given` of the dataclass, where it has that), not
    by what its class made of the default: TRL 1.14 fills `loss_type` in.
    """
    config: dict[str, Any] = {TEMPLATE: template_digest(template)}
    changed = []
    for source in arguments:
        given = getattr(source, "as_given", vars(source))
        for field in fields(source):
            if field.name in HARMLESS:
                continue
            value = _plain(getattr(source, field.name))
            if not _is_json(value):
                continue
            config[field.name] = value
            if _plain(given[field.name]) not in (None, _default(field)):
                changed.append(field.name)
    return {CONFIG: config, CHANGED: sorted(changed)}


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return _plain(field.default_factory())
    return None if field.default is MISSING else _plain(field.default)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def differences(
    marker: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """What a marker's configuration was and what `sft.py`'s arguments now are, by name.

    `arguments` are as `config.training.script.script_arguments` makes them, with `chat_template_path`. Only what
    both can tell is compared; a value that is now left to its default shows as None.
    """
    config = marker.get(CONFIG)
    if not isinstance(config, Mapping):
        return {}
    found: dict[str, tuple[Any, Any]] = {}
    path = arguments.get("chat_template_path")
    text = _text(Path(path)) if path else None
    if text is not None:
        digest = template_digest(text)
        if digest != config.get(TEMPLATE):
            found["chat_template_path"] = (config.get(TEMPLATE), digest)
    for name, value in arguments.items():
        if name in HARMLESS or name not in config:
            continue
        if _comparable(config[name]) != _comparable(value):
            found[name] = (config[name], value)
    changed = marker.get(CHANGED)
    for name in changed if isinstance(changed, list) else ():
        if name in config and name not in arguments and name not in HARMLESS:
            found[name] = (config[name], None)
    return found


def _text(template: Path) -> str | None:
    """Text of a template; None where it is unreadable, which the check of the template says."""
    try:
        return template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _comparable(value: Any) -> Any:
    """Lists as tuples; a list of one as its item, since a command line makes no difference."""
    if isinstance(value, list | tuple):
        items = tuple(_comparable(v) for v in value)
        return items[0] if len(items) == 1 else items
    return value
