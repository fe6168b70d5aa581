"""Checkpoint files of networks, read and checked: what they hold is named where it is not what is needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from popstream.model.checked import InputError, must_be_file
from popstream.model.networks import build_network
from popstream.model.networks.archive import copied
from popstream.model.networks.layers import QuantNetwork

__all__ = ["CheckpointError", "read_stored", "rebuild"]


class CheckpointError(InputError):
    """A checkpoint is damaged or not what is asked for; one line with the file, what is wrong and what to do."""


def read_stored(path: Path, needs: Mapping[str, type | tuple[type, ...]], otherwise: str) -> dict[str, Any]:
    """The table in a file of torch, on the CPU, with the keys `needs` of these types; no code in it is run.

    CheckpointError where it is damaged; where it is another table, the message says `otherwise`.
    """
    must_be_file(path, CheckpointError)
    try:
        state = torch.load(copied(path), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different type for each kind of damage
        said = f"{type(error).__name__}: {error}" if isinstance(error, ValueError) else type(error).__name__
        raise CheckpointError(f"{path} is damaged ({said}); remove it to start again") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a checkpoint; {otherwise}")
    for key, kind in needs.items():
        if not isinstance(state.get(key), kind):
            given = f"of type {type(state[key]).__name__}" if key in state else "missing"
            raise CheckpointError(f"{path}: {key!r} is {given}; {otherwise}")
    return state


def rebuild(state: dict[str, Any], path: Path) -> QuantNetwork:
    """The network of a checkpoint's `config` with the weights in its `model`; CheckpointError where they disagree."""
    try:
        network = build_network(state["config"])
        network.load_state_dict(state["model"])
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:  # of the table, and of load_state_dict
        raise CheckpointError(f"{path}: its network cannot be built ({error})") from error
    return network
