"""Train a network by its recipe: `python -m model.train resnet20-w1a2`. Reads top to bottom.

Each phase of a recipe starts from the weights of the one before it, so bits go down in steps. State is written
once an epoch, beside the old one and then renamed: kill it at any point and the same command goes on from the
last whole epoch, to the same weights as an unbroken run (CPU). Data and augmentation live on the device.

Measured, W1A2 ResNet-20, one core of a 2-core AMD EPYC (bf16, batch 128): 90 s an epoch in float, 125 s in W1A2.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from model import data
from model.curves import plot_curves
from model.recipe import RECIPES, RecipeError, learning_rate, load_recipe, network_config, recipe_up_to
from model.resnet import ResNet, ResNetConfig


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what is kept."""


@dataclass
class Augmentation:
    """Random crops of a zero-padded image, `shift` pixels each way, mirrored with probability 1/2 where `flip`."""

    shift: int
    flip: bool
    generator: torch.Generator

    def __call__(self, images: Tensor) -> Tensor:
        """Padded uint8 [N, C, H + 2 shift, W + 2 shift] to [N, C, H, W]."""
        n, _, height, width = images.shape
        height, width, device = height - 2 * self.shift, width - 2 * self.shift, images.device
        offsets = torch.randint(0, 2 * self.shift + 1, (2, n), generator=self.generator, device=device)
        rows = offsets[0, :, None] + torch.arange(height, device=device)
        columns = offsets[1, :, None] + torch.arange(width, device=device)
        if self.flip:
            mirrored = torch.rand((n, 1), generator=self.generator, device=device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        picked = torch.arange(n, device=device)[:, None, None]
        return images.permute(0, 2, 3, 1)[picked, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def prepare(images: Tensor) -> Tensor:
    """uint8 [N, C, H, W] to float x/255, channels last."""
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


def make_optimizer(model: ResNet, phase: dict) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or Adam; weight decay on conv and linear weights only."""
    decayed = [p for p in model.parameters() if p.dim() > 1 and p.requires_grad]
    plain = [p for p in model.parameters() if p.dim() <= 1 and p.requires_grad]
    groups = [{"params": decayed, "weight_decay": phase["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
    if phase["optimizer"] == "adam":
        return torch.optim.AdamW(groups, lr=phase["lr"])
    return torch.optim.SGD(groups, lr=phase["lr"], momentum=phase["momentum"], nesterov=phase["momentum"] > 0)


@torch.no_grad()
def evaluate(model: ResNet, images: Tensor, labels: Tensor, batch: int = 500, bf16: bool = False) -> float:
    """Top-1 in percent."""
    model.eval()
    correct = torch.zeros((), dtype=torch.long, device=images.device)
    for x, y in zip(images.split(batch), labels.split(batch), strict=True):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            correct += (model(prepare(x)).argmax(1) == y).sum()
    return 100 * correct.item() / len(labels)


@torch.no_grad()
def reestimate_batchnorm(model: ResNet, batches: Iterable[Tensor]) -> None:
    """Set BatchNorm's statistics to their mean over batches of training images, in float32."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for x in batches:
        model(prepare(x))
    for norm in norms:
        norm.momentum = 0.1


def loss_of(logits: Tensor, labels: Tensor, taught: Tensor | None, label_weight: float) -> Tensor:
    """Cross entropy; with a teacher label_weight * CE + KL(teacher || student), at temperature 1."""
    loss = F.cross_entropy(logits, labels)
    if taught is None:
        return loss
    student, teacher = F.log_softmax(logits, 1), F.log_softmax(taught.float(), 1)
    return label_weight * loss + F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def load_teacher(path: Path, classes: int, device: torch.device) -> ResNet:
    """The network of a finished phase, for its outputs only."""
    state = torch.load(path, map_location=device, weights_only=True)
    config = ResNetConfig(**state["config"])
    if config.classes != classes:
        raise TrainingError(f"Teacher {path} has {config.classes} classes, the student {classes}")
    teacher = ResNet(config).to(device)
    teacher.load_state_dict(state["model"])
    return teacher.eval().requires_grad_(False)


def save(state: dict, path: Path) -> None:
    """Write beside, then rename: `path` is always a whole checkpoint."""
    beside = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, beside)
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise TrainingError(f"{path} could not be written ({error}); the checkpoint before it is intact") from error


def read_state(path: Path, recipe: dict) -> dict | None:
    """The checkpoint to go on from, or None; raises TrainingError where it is damaged or another recipe's."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different type for each kind of damage
        raise TrainingError(f"{path} is damaged ({type(error).__name__}); remove it to start again") from error
    if state["recipe"] != recipe_up_to(recipe, state["phase"]):
        raise TrainingError(f"{path} was made by another recipe; remove {path.parent} to start again")
    return state


class Trainer:
    """The data on its device, the log, and one method a level: train, phase, epoch."""

    def __init__(self, recipe: dict, out: Path, device: torch.device):
        self.recipe, self.out, self.device = recipe, out, device
        torch.manual_seed(recipe.get("seed", 0))
        generator = torch.Generator(device).manual_seed(recipe.get("seed", 0))
        options = recipe.get("augment", {})
        self.augmentation = Augmentation(options.get("shift", 0), options.get("flip", False), generator)
        source = data.load(recipe["data"])
        shift = self.augmentation.shift
        self.images = F.pad(torch.from_numpy(source.train_images), (shift,) * 4).to(device)
        self.labels = torch.from_numpy(source.train_labels).to(device)
        self.test = torch.from_numpy(source.test_images).to(device), torch.from_numpy(source.test_labels).to(device)
        self.log: list[dict] = []

    def batches(self, size: int, limit: int) -> Iterator[Tensor]:
        """Augmented training images in order, without labels: uint8 [size, C, H, W]."""
        for part in self.images[:limit].split(size):
            yield self.augmentation(part)

    def epoch(self, model, teacher, optimizer, phase: dict, epoch: int, note: str) -> tuple[float, float]:
        """One pass; returns mean loss and training top-1 in percent. TrainingError where the loss is not finite."""
        model.train()
        batch = phase["batch"]
        steps = max(1, len(self.labels) // batch)
        order = torch.randperm(len(self.labels), generator=self.augmentation.generator, device=self.device)
        loss_sum, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        for step in tqdm(range(steps), desc=note, leave=False, mininterval=1, disable=not sys.stderr.isatty()):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(phase, epoch + step / steps)
            picked = order[step * batch : (step + 1) * batch]
            x, y = prepare(self.augmentation(self.images[picked])), self.labels[picked]
            with torch.autocast(self.device.type, torch.bfloat16):
                logits = model(x)
                taught = teacher(x) if teacher is not None else None
            loss = loss_of(logits.float(), y, taught, phase["label_weight"])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss_sum += loss.detach()
            correct += (logits.argmax(1) == y).sum()
        mean = loss_sum.item() / steps
        if not math.isfinite(mean):
            raise TrainingError(f"{note}: the loss is {mean}; lower lr ({phase['lr']}). The last checkpoint is kept")
        return mean, 100 * correct.item() / (steps * batch)

    def phase(self, index: int, phase: dict, weights: dict | None, resumed: dict | None) -> ResNet:
        """Run or resume one phase from the weights of the one before; writes state.pt every epoch."""
        config = network_config(self.recipe, phase)
        model = ResNet(config)
        if weights is not None:
            model.load_state_dict(weights)
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = make_optimizer(model, phase)
        teacher = None
        if phase["teacher"]:
            teacher = load_teacher(self.out / f"{phase['teacher']}.pt", config.classes, self.device)
        start = 0
        if resumed is not None:
            model.load_state_dict(resumed["model"])
            optimizer.load_state_dict(resumed["optimizer"])
            self.augmentation.generator.set_state(resumed["generator"])
            torch.set_rng_state(resumed["rng"])
            start = resumed["epoch"]
        elif config.act_bits != 32:
            model.calibrate(prepare(next(self.batches(500, 500))))
        for epoch in range(start, phase["epochs"]):
            began = time.time()
            note = f"{phase['name']} {epoch + 1}/{phase['epochs']}"
            loss, top1_train = self.epoch(model, teacher, optimizer, phase, epoch, note)
            row = {"phase": phase["name"], "epoch": epoch + 1, "loss": round(loss, 4),
                   "top1_train": round(top1_train, 2), "top1_test": round(evaluate(model, *self.test, bf16=True), 2),
                   "seconds": round(time.time() - began, 1)}  # fmt: skip
            self.log.append(row)
            print(f"{note}: " + "  ".join(f"{k} {v}" for k, v in list(row.items())[2:]), flush=True)
            state = {"recipe": recipe_up_to(self.recipe, index), "phase": index, "epoch": epoch + 1, "log": self.log,
                     "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                     "generator": self.augmentation.generator.get_state(), "rng": torch.get_rng_state()}  # fmt: skip
            save(state, self.out / "state.pt")
            plot_curves(self.log, self.out / "curves.png")
        save({"config": config.to_dict(), "model": host(model)}, self.out / f"{phase['name']}.pt")
        return model

    def train(self) -> Path:
        """Run or resume every phase, re-estimate BatchNorm, and write `out`/final.pt."""
        resumed = read_state(self.out / "state.pt", self.recipe)
        if resumed:
            self.log = resumed["log"]
        weights = model = None
        for index, phase in enumerate(self.recipe["phase"]):
            finished = self.out / f"{phase['name']}.pt"
            if resumed and resumed["phase"] > index:
                weights = torch.load(finished, map_location="cpu", weights_only=True)["model"]
                continue
            model = self.phase(index, phase, weights, resumed if resumed and resumed["phase"] == index else None)
            weights = host(model)
        assert model is not None, "a recipe has at least one phase, and the last one is always entered"
        reestimate_batchnorm(model, self.batches(500, 10000))
        top1 = evaluate(model, *self.test)
        result = {"config": model.config.to_dict(), "model": host(model), "log": self.log, "recipe": self.recipe,
                  "data": self.recipe["data"], "top1_float": top1}  # fmt: skip
        save(result, self.out / "final.pt")
        print(f"{self.out / 'final.pt'}: top-1 {top1:.2f} % on {len(self.test[1])} test images, last epoch")
        return self.out / "final.pt"


def host(model: ResNet) -> dict:
    """The weights on the CPU."""
    return {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train a network by its recipe; the same command resumes.")
    parser.add_argument("net", help="a recipe of model/recipes, or a path to one")
    parser.add_argument("--out", type=Path, help="folder of the checkpoints (default build/<net>/train)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's)")
    options = parser.parse_args(arguments)
    if options.threads < 0:
        parser.error(f"--threads must not be negative, not {options.threads}")
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        device = torch.device(options.device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        parser.error(f"--device must be one that torch has here, such as cpu, not {options.device!r} ({reason})")
    path = Path(options.net) if options.net.endswith(".toml") else RECIPES / f"{options.net}.toml"
    try:
        out = options.out or Path("build") / path.stem / "train"
        Trainer(load_recipe(path), out, device).train()
    except (TrainingError, RecipeError, data.DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last whole epoch", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
