"""The number type and memory layout in which training is fastest on this machine, found by a short trial.

bfloat16 halves the traffic of memory, but where a CPU has no instructions for it (AVX-512 at least) its convs take ten
times as long as float32's. So no processor's list of features is trusted: a few steps of each are timed.
"""

import copy
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

TRIAL_BATCH = 64  # images
TRIAL_STEPS = 3  # timed, after one that warms up
TRIAL_FROM = 50_000 * 32 * 32  # pixels trained on; a phase of fewer is over before a trial would pay
HOPELESS = 3  # times the fastest's time: not timed further


@dataclass(frozen=True)
class Precision:
    """bfloat16 by autocast, or float32; activations [N, C, H, W] with channels innermost in memory or not."""

    bfloat16: bool
    channels_last: bool

    @property
    def name(self) -> str:
        return ("bfloat16" if self.bfloat16 else "float32") + ("" if self.channels_last else "-nchw")

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device, cache: bool = True) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=cache)


FLOAT32 = Precision(False, True)
BFLOAT16 = Precision(True, True)
PRECISIONS = {p.name: p for p in (FLOAT32, BFLOAT16, Precision(False, False), Precision(True, False))}
AUTO = "auto"


def machine(device: torch.device) -> str:
    """What a trial's result holds for: the processor, what torch and oneDNN use of it, and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
    parts = (
        model or platform.processor() or platform.machine(), torch.backends.cpu.get_cpu_capability(),
        os.environ.get("ONEDNN_MAX_CPU_ISA", ""), f"{torch.get_num_threads()} threads",
    )  # fmt: skip
    return ", ".join(filter(None, parts))


def fixed(device: torch.device, pixels: int) -> Precision | None:
    """The choice that needs no trial: on a GPU by what it has, float32 for a short phase; None where one pays."""
    if device.type == "cuda":
        return BFLOAT16 if torch.cuda.is_bf16_supported(including_emulation=False) else FLOAT32
    return FLOAT32 if device.type != "cpu" or pixels < TRIAL_FROM else None


def trial(
    network: nn.Module,
    make: Callable[[nn.Module, Precision], Callable[[Tensor, Tensor], object]],
    images: Tensor,
    labels: Tensor,
) -> dict[str, float]:
    """Images/s in each precision that is not hopeless, the fastest first.

    make: a copy of the network in a precision to its training step, which takes uint8 images [N, C, H, W] and labels
    [N]. The network and torch's random numbers stay as they are.
    """
    images, labels = images[:TRIAL_BATCH], labels[:TRIAL_BATCH]
    best: dict[str, float] = {}
    warm: dict[str, float] = {}
    with torch.random.fork_rng(devices=[]):
        for name, precision in PRECISIONS.items():
            twin = copy.deepcopy(network).to(memory_format=precision.memory_format)  # type: ignore[call-overload]
            twin.train()
            step = make(twin, precision)
            warm[name] = seconds(step, images, labels)
            if warm[name] > HOPELESS * min(warm.values()):
                continue
            best[name] = min(seconds(step, images, labels) for _ in range(TRIAL_STEPS))
    return {name: len(labels) / best[name] for name in sorted(best, key=lambda name: best[name])}


def choose(
    wanted: str, before: dict[str, str] | None, device: torch.device, pixels: int, run: Callable[[], dict[str, float]]
) -> tuple[dict[str, str], str]:
    """A phase's precision and the machine it was chosen on, and why, where that is worth a line.

    wanted: a name of PRECISIONS, or AUTO. before: what this gave for the epochs that are resumed, or None at the start
    of the phase; on the same machine it stays. pixels: how many the phase trains on. run: the trial.
    """
    here, found, why = machine(device), fixed(device, pixels), ""
    if wanted != AUTO:
        name, why = wanted, "as asked for"
    elif before and before["machine"] == here:
        name = before["precision"]
    elif found is not None:
        name = found.name
    else:
        speeds = run()
        name = next(iter(speeds))
        why = f"the fastest in a trial (images/s: {', '.join(f'{n} {speed:.0f}' for n, speed in speeds.items())})"
    now = {"precision": name, "machine": here}
    if before is not None and before != now:
        then = before or {"precision": BFLOAT16.name, "machine": "a machine not noted"}  # all were, before the choice
        why = "; ".join(filter(None, [why, f"before in {then['precision']} on {then['machine']}: bits may differ"]))
    return now, why


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds: of one CPU thread its own, which other programs on the machine do not lengthen."""
    return time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter


def seconds(step: Callable[[Tensor, Tensor], object], images: Tensor, labels: Tensor) -> float:
    now = clock(images.device)
    began = now()
    step(images, labels)
    return now() - began
