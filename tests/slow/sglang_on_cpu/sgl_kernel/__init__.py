"""Stands in for SGLang's compiled CPU kernels, which exist only for processors with AVX-512.

Serving text with `--attention-backend torch_native` needs one of them; the others are only imported,
for models and features that the tests do not use, and fail when they are called.
"""

import functools

import torch


def assign_req_to_token_pool_cpu(requests, table, first, past, places, width):
    """Note in each request's row of `table`, from `first` to `past`, the cache places it was given."""
    taken = 0
    for row, begin, end in zip(requests.tolist(), first.tolist(), past.tolist(), strict=True):
        given = places[taken : taken + end - begin]
        table[row, begin:end] = given.to(table.dtype)
        taken += end - begin


def __getattr__(name):
    """A kernel that is imported by its name, and not there."""
    if not name.endswith("_cpu"):
        raise AttributeError(name)

    def missing(*_args, **_kwargs):
        raise NotImplementedError(f"{name} is not among the stand-ins for SGLang's CPU kernels")

    return missing


def _in_ordinary_memory(make):
    """SGLang's adapters ask for page-locked memory, which there is only beside a GPU."""

    @functools.wraps(make)
    def without(*args, pin_memory=False, **kwargs):
        return make(*args, **kwargs)

    return without


for _made_by in ("tensor", "empty", "zeros"):
    setattr(torch, _made_by, _in_ordinary_memory(getattr(torch, _made_by)))
torch.Tensor.pin_memory = lambda self, *_args, **_kwargs: self
