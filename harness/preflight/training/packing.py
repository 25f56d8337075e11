"""How many sequences packing makes, without running it over all rows. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

_MAP_BATCH = 1000
"""Rows that TRL packs together: the batch of `datasets.map`."""


@dataclass(frozen=True)
class PackedEstimate:
    """Sequences of `max_length` tokens that a dataset packs into."""

    sequences: int
    """For all rows that are used."""
    share: float
    """Half the 95 % interval, as a share of `sequences`."""
    rows_per_sequence: float
    fill: float
    """Share of `max_length` that holds tokens."""


def best_fit_decreasing(lengths: Sequence[int], capacity: int, split: bool = False) -> int:
    """Number of sequences that TRL's `bfd` packs rows of these lengths into.

    Rows longer than `capacity` are cut to it, or with `split` go on in further pieces (`bfd_split`).
    Source: trl 1.16, data_utils._pack_bfd.
    """
    pieces: list[int] = []
    for length in lengths:
        if split:
            pieces += [capacity] * (length // capacity) + [length % capacity]
        else:
            pieces.append(min(length, capacity))
    spaces: list[int] = []  # left in each open sequence, ascending
    sequences = 0
    for piece in sorted((p for p in pieces if p > 0), reverse=True):
        index = bisect_left(spaces, piece)
        if index == len(spaces):
            sequences += 1
            left = capacity - piece
        else:
            left = spaces.pop(index) - piece
        if left:
            insort(spaces, left)
    return sequences


def estimate(
    lengths: Sequence[int], rows: int, capacity: int, split: bool = False
) -> PackedEstimate:
    """Scale a random sample of row lengths (tokens) to all rows.

    Rows are packed per 1000, as TRL does. The interval is the sampling error of the mean length
    (normal, 95 %) and 1 % for how well other rows fit together. Raises ValueError without rows.
    """
    if not lengths:
        raise ValueError("no lengths to estimate from")
    kept = [length if split else min(length, capacity) for length in lengths]
    groups = [lengths[i : i + _MAP_BATCH] for i in range(0, len(lengths), _MAP_BATCH)]
    packed = sum(best_fit_decreasing(group, capacity, split) for group in groups)
    sequences = max(math.ceil(packed * rows / len(lengths)), 1)
    mean = max(fmean(kept), 1e-9)
    spread = stdev(kept) / math.sqrt(len(kept)) if len(kept) > 1 else mean
    unseen = math.sqrt(max(1 - len(kept) / rows, 0)) if rows else 0.0
    share = 1.96 * spread / mean * unseen + (0.01 if unseen else 0.0)
    return PackedEstimate(
        sequences=sequences,
        share=share,
        rows_per_sequence=len(lengths) / max(packed, 1),
        fill=sum(kept) / (max(packed, 1) * capacity),
    )
