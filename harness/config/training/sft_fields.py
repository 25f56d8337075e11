"""The fields of TRL's SFTConfig, recorded so that the login node need not import torch.

Recorded from TRL 1.16.0 and transformers 5.23; `tests/config/training/test_sft_fields.py` compares
with the installed ones.
"""

from __future__ import annotations

from typing import Any

from harness.config.base import choice, got

SFT_FIELDS = frozenset(
    """
    accelerator_config activation_checkpointing activation_checkpointing_kwargs
    activation_offloading adam_beta1 adam_beta2 adam_epsilon assistant_only_loss
    auto_find_batch_size average_tokens_across_devices batch_eval_metrics bf16 bf16_full_eval
    chat_template_path completion_only_loss data_seed dataloader_drop_last dataloader_in_order
    dataloader_multiprocessing_context dataloader_num_workers dataloader_persistent_workers
    dataloader_pin_memory dataloader_prefetch_factor dataset_kwargs dataset_num_proc
    dataset_text_field ddp_backend ddp_broadcast_buffers ddp_bucket_cap_mb
    ddp_find_unused_parameters ddp_static_graph ddp_timeout debug deepspeed disable_tqdm do_eval
    do_predict do_train enable_jit_checkpoint eos_token eval_accumulation_steps eval_delay
    eval_do_concat_batches eval_on_start eval_packing eval_steps eval_strategy
    eval_use_gather_object fp16 fp16_full_eval fsdp fsdp_config full_determinism
    gradient_accumulation_steps gradient_checkpointing gradient_checkpointing_kwargs
    greater_is_better hub_always_push hub_model_id hub_private_repo hub_revision hub_strategy
    hub_token ignore_data_skip include_for_metrics include_num_input_tokens_seen label_names
    label_smoothing_factor learning_rate length_column_name liger_kernel_config
    load_best_model_at_end local_rank log_level log_level_replica log_on_each_node
    logging_first_step logging_nan_inf_filter logging_steps logging_strategy loss_type
    lr_scheduler_kwargs lr_scheduler_type max_grad_norm max_length max_steps
    metric_for_best_model model_init_kwargs neftune_noise_alpha num_train_epochs optim
    optim_args optim_target_modules output_dir packing packing_strategy pad_to_multiple_of
    pad_token padding_free parallelism_config per_device_eval_batch_size
    per_device_train_batch_size prediction_loss_only project push_to_hub remove_unused_columns
    report_to restore_callback_states_from_checkpoint resume_from_checkpoint
    router_aux_loss_coef run_name save_on_each_node save_only_model save_steps save_strategy
    save_total_limit seed shuffle_dataset skip_memory_metrics tf32 torch_compile
    torch_compile_backend torch_compile_mode torch_empty_cache_steps trackio_bucket_id
    trackio_space_id trackio_static_space_id train_sampling_strategy truncation_mode
    trust_remote_code use_cache use_cpu use_liger_kernel warmup_steps weight_decay
    """.split()  # noqa: SIM905  (a block is easier to compare)
)

RESERVED = {
    "save_strategy": "checkpoints are written every save_steps",
    "save_total_limit": "it would delete checkpoints before their evaluation",
    "load_best_model_at_end": "every checkpoint is evaluated in a job of its own",
    "resume_from_checkpoint": "a run resumes by itself from its newest complete checkpoint",
    "push_to_hub": "checkpoints stay in the run folder until they are evaluated",
    "do_train": "training is what this section is for",
    "activation_checkpointing": "set gradient_checkpointing, which is mapped to it",
    "fsdp": "set parallelism: fsdp2",
    "fsdp_config": "set parallelism: fsdp2",
    "deepspeed": "set parallelism: zero2 or zero3",
    "dataset_kwargs": "rows are tokenised before training; skip_prepare_dataset would skip it",
}
"""Fields that would work against the harness, and why."""

RENAMED = {
    "attn_impl": "attn_implementation",
    "dtype": "model_dtype",
    "evaluation_strategy": "eval_strategy",
    "group_by_length": "train_sampling_strategy: group_by_length",
    "logging_dir": "report_to: tensorboard, whose files stay in the run folder",
    "lora_rank": "lora_r",
    "max_seq_length": "max_length",
    "model_name_or_path": "model_name",
    "no_cuda": "use_cpu",
    "num_epochs": "num_train_epochs",
    "overwrite_output_dir": "another output_dir; nothing is overwritten",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
    "torch_dtype": "model_dtype",
    "use_liger": "use_liger_kernel",
    "warmup_ratio": "warmup_steps, a share of all steps where it is below 1 (e.g. 0.03)",
}
"""Names of older versions and of other trainers -> what is written today."""

_KINDS = {
    "true or false": """
        average_tokens_across_devices fp16 bf16_full_eval fp16_full_eval tf32? torch_compile
        use_liger_kernel use_cache auto_find_batch_size logging_first_step log_on_each_node
        logging_nan_inf_filter disable_tqdm? prediction_loss_only eval_on_start
        eval_do_concat_batches eval_use_gather_object batch_eval_metrics save_only_model
        save_on_each_node enable_jit_checkpoint hub_private_repo? hub_always_push
        greater_is_better? ignore_data_skip restore_callback_states_from_checkpoint
        full_determinism dataloader_drop_last dataloader_pin_memory
        dataloader_persistent_workers dataloader_in_order remove_unused_columns
        ddp_find_unused_parameters? ddp_broadcast_buffers? ddp_static_graph? skip_memory_metrics
        do_eval do_predict trust_remote_code shuffle_dataset padding_free eval_packing?
        completion_only_loss? activation_offloading""",
    "a whole number": """
        torch_empty_cache_steps? per_device_eval_batch_size eval_accumulation_steps? data_seed?
        dataloader_num_workers dataloader_prefetch_factor? ddp_bucket_cap_mb? ddp_timeout
        local_rank dataset_num_proc?""",
    "a number": """
        weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm label_smoothing_factor
        neftune_noise_alpha? eval_steps? eval_delay router_aux_loss_coef?""",
    "text": """
        optim_args? torch_compile_backend? torch_compile_mode? log_level log_level_replica
        run_name? project trackio_space_id? trackio_bucket_id? hub_token? hub_model_id?
        hub_revision? metric_for_best_model? dataloader_multiprocessing_context?
        train_sampling_strategy length_column_name ddp_backend? dataset_text_field
        truncation_mode packing_strategy loss_type pad_token?""",
}
_PYTHON: dict[str, tuple[type, ...]] = {
    "true or false": (bool,),
    "a whole number": (int,),
    "a number": (int, float),
    "text": (str,),
}
KIND_OF = {
    name.rstrip("?"): (kind, name.endswith("?"))
    for kind, names in _KINDS.items()
    for name in names.split()
}
"""Field of one plain kind -> the kind, and whether null may stand there."""

SCHEDULERS = (
    "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup",
    "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr", "cosine_warmup_with_min_lr",
    "warmup_stable_decay", "greedy",
)  # fmt: skip
"""transformers' SchedulerType."""
STRATEGIES = ("eval_strategy", "logging_strategy")
CHOICES = {
    **dict.fromkeys(STRATEGIES, ("no", "steps", "epoch")),
    "hub_strategy": ("end", "every_save", "checkpoint", "all_checkpoints"),
    "train_sampling_strategy": ("random", "sequential", "group_by_length", "batch_rebalance"),
    "packing_strategy": ("bfd", "bfd_split", "wrapped"),
    "truncation_mode": ("keep_start", "keep_end"),
    "loss_type": ("nll", "dft", "chunked_nll"),
    "optim": tuple(
        """
        adamw_torch adamw_torch_fused adamw_torch_xla adamw_torch_npu_fused adafactor
        adamw_anyprecision adamw_torch_4bit adamw_torch_8bit ademamix sgd adagrad adamw_bnb_8bit
        adamw_8bit ademamix_8bit lion_8bit lion_32bit paged_adamw_32bit paged_adamw_8bit
        paged_ademamix_32bit paged_ademamix_8bit paged_lion_32bit paged_lion_8bit rmsprop
        rmsprop_bnb rmsprop_bnb_8bit rmsprop_bnb_32bit galore_adamw galore_adamw_8bit
        galore_adafactor galore_adamw_layerwise galore_adamw_8bit_layerwise
        galore_adafactor_layerwise lomo adalomo grokadamw schedule_free_radam schedule_free_adamw
        schedule_free_sgd apollo_adamw apollo_adamw_layerwise stable_adamw""".split()  # noqa: SIM905
    ),
}
"""Fields that take one of a few words."""


def kind_problem(name: str, value: Any) -> str:
    """What is wrong with the value of a field of SFTConfig; empty where that cannot be told here."""
    if name in CHOICES:
        return "" if value in CHOICES[name] else choice(CHOICES[name], value) + got(value)
    if name not in KIND_OF:
        return ""
    kind, may_be_null = KIND_OF[name]
    if value is None:
        return "" if may_be_null else f"{kind} is expected{got(value)}"
    right = isinstance(value, _PYTHON[kind]) and isinstance(value, bool) == (bool in _PYTHON[kind])
    return "" if right else f"{kind} is expected{got(value)}"
