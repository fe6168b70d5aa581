"""Whether a network has room in memory: asked before anything is allocated, and said where it ran out."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from popstream.model.machine import free_memory
from popstream.model.networks import build_network
from popstream.model.training.checkpoint import TrainingError

__all__ = ["check_room", "told_of_memory"]

COPIES = 3  # of each weight: itself, its gradient, its momentum
FULL = ("can't allocate memory", "out of memory")  # in the words of torch, on a CPU and on a GPU


def check_room(config: Any, name: str) -> None:
    """TrainingError where the weights of a network's `config` cannot be trained in the memory that is free. Nothing is
    allocated. `name`: of the phase."""
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in build_network(config.to_dict()).parameters())
    need, free = 4 * COPIES * weights, free_memory()
    if need > free:
        raise TrainingError(
            f"phase {name!r}: {weights:,} weights need {need / 2**30:,.1f} GiB to be trained, and {free / 2**30:,.1f} "
            "are free; take smaller widths"
        )


@contextmanager
def told_of_memory(phase: dict) -> Iterator[None]:
    """Memory that runs out in a phase is a TrainingError of one line."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in FULL):
            raise
        size, kept = f"batches of {phase['batch']}", "The last checkpoint is kept"
        raise TrainingError(
            f"{phase['name']}: memory ran out with {size}; take smaller ones, or smaller widths. {kept}"
        ) from error
