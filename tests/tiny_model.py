"""A tiny random Qwen3 with a real byte-level BPE tokenizer, and conversations to train it on.

Small enough to train in seconds on one core, real enough for vLLM on CPU (head_dim 64).
"""

from __future__ import annotations

from pathlib import Path

ENDOFTEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (ENDOFTEXT, IM_START, IM_END)
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen's own: a run of line ends stays one piece, whatever follows."""
ADDED_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
_CORPUS = (
    "What is the sum of two and three? The answer is five.",
    "system user assistant\nYou are a helpful assistant.\n\n",
    "Ada was the first, and she wrote to Charles about the engine: it weaves patterns.",
    "0 1 2 3 4 5 6 7 8 9 10 11 12 + - * = \\boxed{12} Let me think, then answer.",
)


def make_tiny_tokenizer(folder: Path, *, chat_template: str | None = None) -> Path:
    """Write a byte-level BPE tokenizer of about 400 tokens, with Qwen's special ones."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(SPECIAL_TOKENS),
        show_progress=False,
    )
    core.train_from_iterator(_CORPUS, trainer)
    core.add_tokens(list(ADDED_TOKENS))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=ENDOFTEXT,
        pad_token=ENDOFTEXT,
        additional_special_tokens=[IM_START, IM_END],
        model_max_length=2048,
    )
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    return folder


def make_tiny_model(
    folder: Path,
    *,
    chat_template: str | None = None,
    seed: int = 0,
    initializer_range: float = 0.02,
) -> Path:
    """Write a random Qwen3 of about 0.1 million parameters, with its tokenizer; returns the folder.

    As Qwen's base models do, it ends text with `<|endoftext|>`, not with a chat's `<|im_end|>`.
    Two seeds give the same greedy text unless `initializer_range` is large, such as 0.4.
    """
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    make_tiny_tokenizer(folder, chat_template=chat_template)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=64,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=initializer_range,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return folder


def make_tiny_dataset(folder: Path, rows: int = 64, *, split: str | None = None) -> Path:
    """Write conversations of one or two turns by `save_to_disk`; with `split` as a DatasetDict."""
    from datasets import Dataset, DatasetDict

    data = Dataset.from_list([{"messages": _conversation(i)} for i in range(rows)])
    (DatasetDict({split: data}) if split else data).save_to_disk(folder)
    return folder


def _conversation(i: int) -> list[dict[str, str]]:
    messages = [
        {"role": "user", "content": f"What is {i} + {i % 7}?"},
        {"role": "assistant", "content": f"The answer is {i + i % 7}."},
    ]
    if i % 3 == 0:
        messages.insert(0, {"role": "system", "content": "You are a helpful assistant."})
    if i % 2 == 0:
        messages += [
            {"role": "user", "content": "And one more?"},
            {"role": "assistant", "content": f"Then it is {i + i % 7 + 1}."},
        ]
    return messages
