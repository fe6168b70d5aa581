"""Train a network by its recipe: `python -m model.train resnet20-w1a2`. Reads top to bottom.

A recipe (model/recipes/<net>.toml) is a network and a list of phases; each phase starts from the weights of
the one before it, so bits go down in steps. State is written once an epoch, beside the old one and then
renamed: kill it at any point and the same command goes on from the last whole epoch, to the same weights.
"""

import argparse
import json
import math
import os
import sys
import time
import tomllib
from dataclasses import fields
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from model import data
from model.resnet import ResNet, ResNetConfig

RECIPES = Path(__file__).parent / "recipes"
PHASE_DEFAULTS = {
    "weight_bits": 32, "act_bits": 32, "grad_bits": 32, "batch": 128, "optimizer": "sgd", "schedule": "cosine",
    "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "warmup": 1.0, "teacher": "", "label_weight": 1.0,
}  # fmt: skip
PHASE_REQUIRED = ("name", "epochs")
OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("cosine", "step")


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says why and what is kept."""


def load_recipe(path: Path) -> dict:
    """Read and check a recipe; raises TrainingError naming the file and the unknown or missing key."""
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in RECIPES.glob("*.toml")))
        raise TrainingError(f"No recipe {path}; there are {known}, or write one")
    try:
        recipe = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise TrainingError(f"{path}: {error}") from error
    check_keys(path, "recipe", recipe, {"data", "seed", "augment", "network", "phase"}, {"data", "network", "phase"})
    check_keys(path, "augment", recipe.get("augment", {}), {"shift", "flip"}, set())
    check_keys(path, "network", recipe["network"], {f.name for f in fields(ResNetConfig)}, set())
    if recipe["data"] not in data.DATA_SETS:
        raise TrainingError(f"{path}: data must be one of {', '.join(data.DATA_SETS)}, not {recipe['data']!r}")
    for index, phase in enumerate(recipe["phase"]):
        check_keys(path, f"phase {index}", phase, {*PHASE_DEFAULTS, *PHASE_REQUIRED}, set(PHASE_REQUIRED))
        recipe["phase"][index] = phase = PHASE_DEFAULTS | phase
        for key, allowed in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if phase[key] not in allowed:
                raise TrainingError(f"{path}: {key} must be one of {', '.join(allowed)}, not {phase[key]!r}")
        earlier = [p["name"] for p in recipe["phase"][:index]]
        if phase["teacher"] and phase["teacher"] not in earlier:
            raise TrainingError(f"{path}: teacher {phase['teacher']!r} is not an earlier phase ({', '.join(earlier)})")
    return recipe


def check_keys(path: Path, where: str, table: dict, allowed: set, required: set) -> None:
    """Raise TrainingError for a key of `table` that is not allowed, or a required one that is missing."""
    for key in table.keys() - allowed:
        raise TrainingError(f"{path}: {where} has an unknown option {key!r}; it takes {', '.join(sorted(allowed))}")
    for key in required - table.keys():
        raise TrainingError(f"{path}: {where} lacks {key!r}")


def network_config(recipe: dict, phase: dict) -> ResNetConfig:
    """The network of a phase: the recipe's, with the phase's bits."""
    table = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe["network"].items()}
    return ResNetConfig(**table, **{k: phase[k] for k in ("weight_bits", "act_bits", "grad_bits")})


def save(state: dict, path: Path) -> None:
    """Write beside, then rename: `path` is always a whole checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    try:
        torch.save(state, beside)
        os.replace(beside, path)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise TrainingError(f"{path} could not be written ({error}); the checkpoint before it is intact") from error


def augment(images: Tensor, shift: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Random crops of the padded batch uint8 [N, C, H + 2s, W + 2s], mirrored with probability 1/2: [N, C, H, W]."""
    n, _, height, width = images.shape
    height, width = height - 2 * shift, width - 2 * shift
    device = images.device
    offsets = torch.randint(0, 2 * shift + 1, (2, n), generator=generator, device=device)
    rows = offsets[0, :, None] + torch.arange(height, device=device)
    columns = offsets[1, :, None] + torch.arange(width, device=device)
    if flip:
        mirrored = torch.rand((n, 1), generator=generator, device=device) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    batch = torch.arange(n, device=device)[:, None, None]
    return images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def learning_rate(phase: dict, epoch: float) -> float:
    """Linear warm-up, then a cosine to 0, or steps of 1/10 at 1/2 and 3/4 of the epochs."""
    if epoch < phase["warmup"]:
        return phase["lr"] * (epoch + 1e-3) / phase["warmup"]
    done = (epoch - phase["warmup"]) / max(phase["epochs"] - phase["warmup"], 1e-9)
    if phase["schedule"] == "cosine":
        return phase["lr"] * 0.5 * (1 + math.cos(math.pi * done))
    return phase["lr"] * 0.1 ** ((done >= 0.5) + (done >= 0.75))


def make_optimizer(model: ResNet, phase: dict) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or Adam; weight decay on conv and linear weights only."""
    decayed = [p for p in model.parameters() if p.dim() > 1 and p.requires_grad]
    plain = [p for p in model.parameters() if p.dim() <= 1 and p.requires_grad]
    groups = [{"params": decayed, "weight_decay": phase["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
    if phase["optimizer"] == "adam":
        return torch.optim.AdamW(groups, lr=phase["lr"])
    return torch.optim.SGD(groups, lr=phase["lr"], momentum=phase["momentum"], nesterov=phase["momentum"] > 0)


def prepare(images: Tensor) -> Tensor:
    """uint8 [N, C, H, W] to float x/255, channels last."""
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


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
def reestimate_batchnorm(model: ResNet, images: Tensor, batch: int = 500) -> None:
    """Set BatchNorm's statistics to their mean over `images`, in float32 and without augmentation."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    model.train()
    for x in images.split(batch):
        model(prepare(x))
    for norm in norms:
        norm.momentum = 0.1


def load_teacher(path: Path, classes: int, device: torch.device) -> ResNet:
    """The network of a finished phase, for its outputs only."""
    state = torch.load(path, map_location=device, weights_only=True)
    config = ResNetConfig(**state["config"])
    if config.classes != classes:
        raise TrainingError(f"Teacher {path} has {config.classes} classes, the student {classes}")
    teacher = ResNet(config).to(device, memory_format=torch.channels_last)
    teacher.load_state_dict(state["model"])
    return teacher.eval().requires_grad_(False)


def loss_of(logits: Tensor, labels: Tensor, taught: Tensor | None, label_weight: float) -> Tensor:
    """Cross entropy; with a teacher label_weight * CE + KL(teacher || student), at temperature 1."""
    loss = F.cross_entropy(logits, labels)
    if taught is None:
        return loss
    student, teacher = F.log_softmax(logits, 1), F.log_softmax(taught.float(), 1)
    return label_weight * loss + F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def train_epoch(model, teacher, optimizer, phase, epoch, images, labels, recipe, generator, note) -> tuple[float, float]:
    """One pass; returns mean loss and training top-1 in percent. Raises TrainingError where the loss is not finite."""
    model.train()
    device, batch = images.device, phase["batch"]
    steps = len(labels) // batch
    order = torch.randperm(len(labels), generator=generator, device=device)
    loss_sum, correct = torch.zeros((), device=device), torch.zeros((), device=device)
    options = recipe.get("augment", {})
    for step in tqdm(range(steps), desc=note, leave=False, mininterval=5, disable=not sys.stderr.isatty()):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(phase, epoch + step / steps)
        picked = order[step * batch : (step + 1) * batch]
        x = prepare(augment(images[picked], options.get("shift", 0), options.get("flip", False), generator))
        y = labels[picked]
        with torch.autocast(device.type, torch.bfloat16):
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


def train(recipe: dict, out: Path, device: torch.device, epochs_scale: float = 1.0) -> Path:
    """Run or resume every phase; returns the finished checkpoint, `out`/final.pt."""
    torch.manual_seed(recipe.get("seed", 0))
    generator = torch.Generator(device).manual_seed(recipe.get("seed", 0))
    source = data.load(recipe["data"])
    shift = recipe.get("augment", {}).get("shift", 0)
    images = F.pad(torch.from_numpy(source.train_images), (shift,) * 4).to(device)
    labels = torch.from_numpy(source.train_labels).to(device)
    plain_images = torch.from_numpy(source.train_images).to(device)
    test = torch.from_numpy(source.test_images).to(device), torch.from_numpy(source.test_labels).to(device)
    resumed = torch.load(out / "state.pt", map_location="cpu", weights_only=True) if (out / "state.pt").exists() else None
    if resumed and resumed["recipe"] != json.dumps(recipe, sort_keys=True):
        raise TrainingError(f"{out}/state.pt was made by another recipe; remove the folder to start again")
    log, weights = (resumed["log"], None) if resumed else ([], None)
    for index, phase in enumerate(recipe["phase"]):
        phase = phase | {"epochs": max(1, round(phase["epochs"] * epochs_scale))}
        config = network_config(recipe, phase)
        finished = out / f"{phase['name']}.pt"
        if resumed and resumed["phase"] > index:
            weights = torch.load(finished, map_location="cpu", weights_only=True)["model"]
            continue
        model = ResNet(config)
        if weights is not None:
            model.load_state_dict(weights)
        model.to(device, memory_format=torch.channels_last)
        optimizer = make_optimizer(model, phase)
        teacher = load_teacher(out / f"{phase['teacher']}.pt", config.classes, device) if phase["teacher"] else None
        start = 0
        if resumed and resumed["phase"] == index:
            model.load_state_dict(resumed["model"])
            optimizer.load_state_dict(resumed["optimizer"])
            generator.set_state(resumed["generator"])
            torch.set_rng_state(resumed["rng"])
            start = resumed["epoch"]
        elif config.act_bits != 32:
            model.calibrate(prepare(plain_images[:500]))
        for epoch in range(start, phase["epochs"]):
            began = time.time()
            note = f"{phase['name']} {epoch + 1}/{phase['epochs']}"
            loss, top1_train = train_epoch(
                model, teacher, optimizer, phase, epoch, images, labels, recipe, generator, note
            )
            row = {"phase": phase["name"], "epoch": epoch + 1, "loss": round(loss, 4), "top1_train": round(top1_train, 2),
                   "top1_test": evaluate(model, *test, bf16=True), "seconds": round(time.time() - began, 1)}  # fmt: skip
            log.append(row)
            print(f"{note}: " + "  ".join(f"{k} {v}" for k, v in list(row.items())[2:]), flush=True)
            state = {"recipe": json.dumps(recipe, sort_keys=True), "phase": index, "epoch": epoch + 1, "log": log,
                     "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                     "generator": generator.get_state(), "rng": torch.get_rng_state()}  # fmt: skip
            save(state, out / "state.pt")
        weights = {k: v.cpu() for k, v in model.state_dict().items()}
        save({"config": config.to_dict(), "model": weights}, finished)
        resumed = None
    reestimate_batchnorm(model, plain_images[:10000])
    result = {"config": config.to_dict(), "model": {k: v.cpu() for k, v in model.state_dict().items()}, "log": log,
              "recipe": recipe, "data": recipe["data"], "top1_float": evaluate(model, *test)}  # fmt: skip
    save(result, out / "final.pt")
    print(f"{out / 'final.pt'}: top-1 {result['top1_float']:.2f} % on {len(test[1])} test images, last epoch")
    return out / "final.pt"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train a network by its recipe; the same command resumes.")
    parser.add_argument("net", help="a recipe of model/recipes, or a path to one")
    parser.add_argument("--out", type=Path, help="folder of the checkpoints (default build/<net>/train)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's)")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    path = Path(options.net) if options.net.endswith(".toml") else RECIPES / f"{options.net}.toml"
    try:
        train(load_recipe(path), options.out or Path("build") / path.stem / "train", torch.device(options.device))
    except (TrainingError, data.DataError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
