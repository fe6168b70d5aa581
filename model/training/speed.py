"""Images/s of training beside a plain PyTorch loop: `popstream speed resnet20-w1a2`, in one run.

Both loops train the same network from the same weights on the same random images, with the same augmentation, optimizer
and batch, one after the other in turns; the median of the turns counts. The plain loop is what one writes first:
float32, NCHW, eager, quantizers as their formulas, the loss read at every step. Ours is model.training.train's: in
the precision that a trial finds fastest, quantizers in few passes, nothing read before the end, on a GPU the step
recorded as a graph. Of one CPU thread the processor's time is taken, which other programs do not lengthen.
"""

import platform
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor

from popstream.model import data
from popstream.model.files import write_json
from popstream.model.networks import build_network, phase_config
from popstream.model.networks.layers import QuantNetwork, prepare
from popstream.model.quantizers import (
    ACTIVATIONS,
    FLOAT_BITS,
    DoReFaActivations,
    RoundToLevels,
    RPReLU,
    RSignActivations,
)
from popstream.model.training.augment import Augmentation, shuffled
from popstream.model.training.precision import (
    AUTO,
    PRECISIONS,
    TRIAL_BATCH,
    TRIAL_FROM,
    Precision,
    clock,
    fixed,
    trial,
)
from popstream.model.training.recipe import RecipeError, crop_of, learning_rate, load_recipe
from popstream.model.training.step import make_optimizer, make_step


def dorefa(quantizer: DoReFaActivations, x: Tensor) -> Tensor:
    if quantizer.bits != FLOAT_BITS:
        u = (x - quantizer.offset.view(-1, 1, 1)) / quantizer.step
        return RoundToLevels.apply(ACTIVATIONS[quantizer.activation](u).clamp(0, 1), 2**quantizer.bits - 1)
    return ACTIVATIONS[quantizer.activation](x)


def rsign(quantizer: RSignActivations, x: Tensor) -> Tensor:
    if quantizer.bits == FLOAT_BITS:
        return ACTIVATIONS[quantizer.activation](x)
    u = x - quantizer.offset.view(-1, 1, 1)
    clipped = u.clamp(-1, 1)
    smooth = clipped * (1 - clipped.abs() / 2)  # half of 2u - u|u|
    return (u >= 0).to(u.dtype) + (smooth - smooth.detach())


def rprelu(prelu: RPReLU, r: Tensor) -> Tensor:
    below, slope, after = (p.view(-1, 1, 1) for p in (prelu.shift_in, prelu.slope, prelu.shift_out))
    u = r - below
    return torch.where(u >= 0, u, slope * u) + after


FORMULAS: dict[type, Callable[[Any, Tensor], Tensor]] = {
    DoReFaActivations: dorefa, RSignActivations: rsign, RPReLU: rprelu,
}  # fmt: skip


def write_out(model: QuantNetwork) -> None:
    """Let activations be computed as their formulas are written down, one operation after the other."""
    for module in model.modules():
        if type(module) in FORMULAS:
            module.forward = partial(FORMULAS[type(module)], module)


def plain_optimizer(model: QuantNetwork, phase: dict) -> torch.optim.Optimizer:
    """The recipe's optimizer with torch's defaults."""
    options = {"lr": phase["lr"], "weight_decay": phase["weight_decay"]}
    if phase["optimizer"] == "adam":
        return torch.optim.AdamW(model.parameters(), **options)
    if phase["optimizer"] == "adadelta":
        return torch.optim.Adadelta(model.parameters(), **options)
    if phase["optimizer"] == "rmsprop":
        return torch.optim.RMSprop(model.parameters(), momentum=phase["momentum"], **options)
    return torch.optim.SGD(model.parameters(), momentum=phase["momentum"], **options)


def plain_loop(
    model: QuantNetwork, optimizer, phase: dict, images: Tensor, labels: Tensor, augmentation: Augmentation, steps: int
) -> float:
    """A plain epoch of `steps` batches; returns the mean loss."""
    batch = phase["batch"]
    model.train()
    order, total = torch.randperm(len(labels), device=labels.device), 0.0
    for index in range(steps):
        picked = order[index * batch : (index + 1) * batch]
        x = (augmentation(images[picked])[0].float() / 255).contiguous()
        loss = F.cross_entropy(model(x), labels[picked])
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(phase, index / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / steps


def our_loop(
    step, model: QuantNetwork, optimizer, phase: dict, images: Tensor, labels: Tensor, augmentation: Augmentation,
    steps: int,
) -> float:  # fmt: skip
    """An epoch of `steps` batches as model.training.train runs it; returns the mean loss."""
    model.train()
    total = torch.zeros((), device=labels.device)
    for index, (x, y, _) in enumerate(shuffled(images, labels, augmentation, phase["batch"], steps)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(phase, index / steps)
        total += step(x, y)[0]
    return total.item() / steps


def fastest(network: QuantNetwork, phase: dict, images: Tensor, labels: Tensor) -> str:
    """The precision that model.train would choose for a long phase."""

    def make(twin: torch.nn.Module, precision: Precision):
        return make_step(twin, None, make_optimizer(twin, phase), 1.0, precision=precision)

    found = fixed(labels.device, TRIAL_FROM)
    return found.name if found else next(iter(trial(network, make, images, labels)))


def measure(
    recipe: dict, phase: dict, device: torch.device, steps: int, turns: int, compile_model: bool, precision: str = AUTO
) -> dict:
    """Images/s of both loops for one phase of a recipe, medians of `turns` turns of `steps` batches; "smaller" is the
    share of epochs of smaller pieces of the images.
    """
    config = phase_config(recipe, phase)
    shift = recipe.get("augment", {}).get("shift", 0)
    size = data.SIZES[recipe["data"]]
    torch.manual_seed(0)
    augmentation = Augmentation(shift, recipe.get("augment", {}).get("flip", False), torch.Generator(device))
    channels, side, count = config.in_channels, size + 2 * shift, steps * phase["batch"]
    images = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8).to(device)
    labels = torch.randint(0, config.classes, (count,)).to(device)
    plain = build_network(config.to_dict()).to(device)
    ours = build_network(config.to_dict())
    ours.load_state_dict(plain.state_dict())
    ours.to(device)
    if config.act_bits != FLOAT_BITS:
        for model in (plain, ours):
            model.calibrate(prepare(augmentation(images[: phase["batch"]])[0]))
    write_out(plain)
    optimizers = plain_optimizer(plain, phase), make_optimizer(ours, phase)
    cropped, _ = augmentation(images[:TRIAL_BATCH])
    chosen = fastest(ours, phase, cropped, labels) if precision == AUTO else precision
    ours.to(memory_format=PRECISIONS[chosen].memory_format)  # type: ignore[call-overload]
    step = make_step(ours, None, optimizers[1], 1.0, True, compile_model, PRECISIONS[chosen])
    sizes = Counter(crop_of(phase, epoch) for epoch in range(phase["epochs"]))
    now = clock(device)

    def plain_seconds(n: int) -> float:
        began = now()
        plain_loop(plain, optimizers[0], phase, images, labels, augmentation, n)
        return now() - began

    def our_seconds(n: int) -> float:
        taken = 0.0
        for crop, epochs in sizes.items():
            augmentation.crop, began = crop, now()
            our_loop(step, ours, optimizers[1], phase, images, labels, augmentation, n)
            taken += (now() - began) * epochs / phase["epochs"]
        augmentation.crop = None
        return taken

    times: dict[str, list[float]] = {"plain": [], "ours": []}
    for turn in range(-1, turns):  # the first turn warms up and records
        for name, seconds in (("plain", plain_seconds), ("ours", our_seconds)):
            taken = seconds(steps if turn >= 0 else min(3, steps))
            if turn >= 0:
                times[name].append(count / taken)
    speeds = {name: statistics.median(values) for name, values in times.items()}
    smaller = 1 - sizes[None] / phase["epochs"]
    return {"phase": phase["name"], "weight_bits": phase["weight_bits"], "act_bits": phase["act_bits"],
            "plain_images_per_s": round(speeds["plain"], 1), "images_per_s": round(speeds["ours"], 1),
            "ratio": round(speeds["ours"] / speeds["plain"], 2), "precision": chosen,
            "smaller": round(smaller, 2)}  # fmt: skip


def report(
    path: Path,
    device: torch.device,
    phases: Sequence[str] = (),
    steps: int = 6,
    turns: int = 3,
    compile_model: bool = False,
    precision: str = AUTO,
) -> dict[str, Any]:
    """Measure `phases` of the recipe at `path`, by default the first and the last that are trained; writes speed.json.

    RecipeError for a phase that there is not.
    """
    recipe = load_recipe(path)
    trained = {phase["name"]: phase for phase in recipe["phase"] if not phase["frozen"]}
    names = list(phases) or list(dict.fromkeys([next(iter(trained)), list(trained)[-1]]))
    for name in names:
        if name not in trained:
            raise RecipeError(f"{path}: no phase {name!r} to measure; there are {', '.join(trained)}")
    rows = [measure(recipe, trained[n], device, steps, turns, compile_model, precision) for n in names]
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    content: dict[str, Any] = {"network": path.stem, "device": device.type, "hardware": hardware,
                               "threads": torch.get_num_threads(), "batch": trained[names[0]]["batch"],
                               "torch": torch.__version__, "compiled": compile_model, "rows": rows}  # fmt: skip
    write_json(Path("build") / path.stem / "speed.json", content)
    return content


def table(content: dict[str, Any]) -> Table:
    """The content of speed.json for a terminal."""
    shown = Table(title=f"{content['network']}: training on {content['device']}, {content['threads']} threads")
    for column in ("phase", "W", "A", "plain images/s", "images/s", "ratio", "precision", "smaller images"):
        shown.add_column(column, justify="left" if column in ("phase", "precision") else "right")
    for row in content["rows"]:
        shown.add_row(*map(str, list(row.values())[:-1]), f"{row['smaller']:.0%}")
    return shown
