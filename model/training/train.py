"""Train a network by its recipe: `popstream train resnet20-w1a2`. Reads top to bottom.

Each phase of a recipe starts from the weights of the one before it, so bits go down in steps. State is written
once an epoch, beside the old one and then renamed: kill it at any point and the same command goes on from the
last whole epoch, to the same weights as an unbroken run (CPU). Data and augmentation live on the device.

How fast, beside a plain loop: docs/training-and-results.md.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from popstream.model import data
from popstream.model.cache import alone
from popstream.model.networks import build_network, phase_config
from popstream.model.networks.layers import QuantNetwork, prepare
from popstream.model.networks.resnet import ResNet
from popstream.model.training.augment import Augmentation, shuffled
from popstream.model.training.checkpoint import (
    WEIGHTS,
    TrainingError,
    host,
    load_network,
    load_teacher,
    read,
    read_state,
    restore,
    save,
    source,
    take_over,
)
from popstream.model.training.curves import plot_curves
from popstream.model.training.evaluate import evaluate, reestimate_batchnorm
from popstream.model.training.finetune import FrozenForward
from popstream.model.training.precision import AUTO, PRECISIONS, Precision, choose, trial
from popstream.model.training.recipe import check_seed, crop_of, learning_rate, load_recipe, recipe_up_to, weight_decay
from popstream.model.training.room import check_room, told_of_memory
from popstream.model.training.step import make_optimizer, make_step
from popstream.model.training.teacher import views_taught


def check_data(images: data.DataSet, config: Any) -> None:
    """Raise TrainingError where the data set has not the classes or channels that the network is made for."""
    for what, has, takes in (
        ("classes", len(images.classes), config.classes),
        ("in_channels", images.train_images.shape[1], config.in_channels),
    ):
        if has != takes:
            raise TrainingError(f"The data set {images.name} has {what} = {has}, the recipe's network {takes}")


def ema_of(model: QuantNetwork, decay: float) -> AveragedModel:
    """The running average of a network's weights and statistics, `decay` of it kept at each step."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


class Trainer:
    """The data on its device, the log, and one method a level: train, phase, epoch."""

    def __init__(
        self, recipe: dict, out: Path, device: torch.device, compile_model: bool = False, command: str = "",
        precision: str = AUTO,
    ):  # fmt: skip
        self.recipe, self.out, self.device, self.compile_model = recipe, out, device, compile_model
        self.command = command  # which repeats this training: it goes into the manifest
        self.wanted = precision
        self.saved: Callable[[], object] = lambda: None  # called when a checkpoint was written
        self.precisions: dict[str, dict[str, str]] = {}  # of each phase: its name, and the machine it was chosen on
        torch.manual_seed(recipe.get("seed", 0))
        generator = torch.Generator(device).manual_seed(recipe.get("seed", 0))
        options = recipe.get("augment", {})
        self.augmentation = Augmentation(options.get("shift", 0), options.get("flip", False), generator)
        images = data.load(recipe["data"])
        check_data(images, phase_config(recipe, recipe["phase"][0]))
        shift = self.augmentation.shift
        self.images = F.pad(torch.from_numpy(images.train_images), (shift,) * 4).to(device)
        self.labels = torch.from_numpy(images.train_labels).to(device)
        self.calibration = torch.from_numpy(images.train_images[: data.CALIBRATION_IMAGES]).to(device)
        self.test = torch.from_numpy(images.test_images).to(device), torch.from_numpy(images.test_labels).to(device)
        self.log: list[dict] = []

    def batches(self, size: int, limit: int) -> Iterator[Tensor]:
        """Augmented training images in order, without labels: uint8 [size, C, H, W]."""
        for part in self.images[:limit].split(size):
            yield self.augmentation(part)[0]

    def epoch(
        self, step, optimizer, phase: dict, epoch: int, note: str, kept: Tensor | None, after: Callable[[], object]
    ) -> tuple[float, float]:
        """One pass; returns mean loss and training top-1 in percent. TrainingError where the loss is not finite.

        `kept` is what the teacher says about every view of the images, where it is asked once; `after` follows a step.
        """
        batch = min(phase["batch"], len(self.labels))
        steps = len(self.labels) // batch
        loss_sum, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        batches = shuffled(self.images, self.labels, self.augmentation, batch, steps)
        batches = tqdm(batches, note, steps, False, mininterval=1, disable=not sys.stderr.isatty())
        for index, (images, labels, views) in enumerate(batches):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(phase, epoch + index / steps)
            optimizer.param_groups[0]["weight_decay"] = weight_decay(phase, epoch + index / steps)
            loss, right = step(images, labels, None if kept is None else kept[views])
            after()
            loss_sum += loss
            correct += right
        mean = loss_sum.item() / steps
        if not math.isfinite(mean):
            raise TrainingError(f"{note}: the loss is {mean}; lower lr ({phase['lr']}). The last checkpoint is kept")
        return mean, 100 * correct.item() / (steps * batch)

    def data_of(self, phase: dict) -> str | None:
        """The data set that a phase's teacher and start must have been trained on; None where any will do."""
        return None if phase.get("other_data") else self.recipe["data"]

    def start(self, model: QuantNetwork, index: int, weights: dict | None) -> None:
        """Weights and clips at the start of phase `index`: those of the phase before, or of the network `start`."""
        phase, bits = self.recipe["phase"][index], model.config.act_bits
        if phase["start"]:
            begun = load_network(source(phase["start"], self.out), model.config, "Start", self.data_of(phase))
            weights = host(begun)
        if weights is not None:
            take_over(model, weights, phase["name"])
        before = self.recipe["phase"][index - 1]["act_bits"] if index else None
        if phase["start"]:
            before = begun.config.act_bits
        if bits not in (32, before):
            model.calibrate(prepare(next(self.batches(500, 500))))

    def precision(self, network: QuantNetwork, teacher: QuantNetwork | None, phase: dict, resumed: bool) -> Precision:
        """The phase's precision: as asked for, as it was on this machine, or as a trial finds it; told in one line."""
        pixels = phase["epochs"] * len(self.labels) * self.calibration[0, 0].numel()

        def run() -> dict[str, float]:
            def make(twin: torch.nn.Module, precision: Precision):
                return make_step(twin, teacher, make_optimizer(twin, phase), phase["label_weight"], precision=precision)

            return trial(network, make, self.calibration, self.labels)

        before = self.precisions.get(phase["name"], {}) if resumed else None
        self.precisions[phase["name"]], why = choose(self.wanted, before, self.device, pixels, run)
        name = self.precisions[phase["name"]]["precision"]
        if why:
            print(f"{phase['name']}: {name}, {why}", flush=True)
        return PRECISIONS[name]

    def phase(self, index: int, phase: dict, weights: dict | None, resumed: dict | None) -> QuantNetwork:
        """Run or resume one phase from the weights of the one before; writes state.pt every epoch."""
        config = phase_config(self.recipe, phase)
        model = build_network(config.to_dict())
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        teacher = None
        if phase["teacher"]:
            teacher = load_teacher(source(phase["teacher"], self.out), config, self.device, self.data_of(phase))
        first = 0
        if resumed is not None:
            model.load_state_dict(resumed["model"])
        else:
            self.start(model, index, weights)
            if phase["frozen"]:
                model.set_progress(1.0)
                reestimate_batchnorm(model, self.batches(500, 10000))
        precision = self.precision(model, teacher, phase, resumed is not None)
        model.to(memory_format=precision.memory_format)  # type: ignore[call-overload]
        optimizer = make_optimizer(model, phase)
        average = ema_of(model, phase["ema"]) if phase.get("ema") else None
        shown = cast(QuantNetwork, average.module) if average else model  # what is evaluated, and kept at the end
        if resumed is not None:
            optimizer.load_state_dict(resumed["optimizer"])
            if average:
                average.load_state_dict(resumed["average"])
            first = resumed["epoch"]
            seed = self.recipe.get("seed", 0) + first
            if not restore(self.augmentation.generator, resumed["generator"], seed):
                print(
                    f"{phase['name']}: begun on another kind of device; order and augmentation go on with seed {seed}"
                )
            torch.set_rng_state(resumed["rng"])
            if resumed.get("cuda_rng") is not None and self.device.type == "cuda":
                torch.cuda.set_rng_state(resumed["cuda_rng"], self.device)
        forward: torch.nn.Module = model
        if phase["frozen"]:
            assert isinstance(model, ResNet), "check_frozen refuses a recipe of another family"
            forward = FrozenForward(model, self.calibration, self.recipe.get("export", {}).get("stream_bits", 16))
        step = make_step(
            forward, teacher, optimizer, phase["label_weight"], not phase["frozen"], self.compile_model, precision,
            phase.get("smoothing", 0.0),
        )  # fmt: skip
        kept = None
        if teacher and phase.get("taught_once"):
            kept = views_taught(teacher, self.images, self.augmentation.shift, precision)
        for epoch in range(first, phase["epochs"]):
            began = time.time()
            note = f"{phase['name']} {epoch + 1}/{phase['epochs']}"
            self.augmentation.crop = crop_of(phase, epoch)
            forward.train()
            ended = phase["frozen"] or phase["epochs"] == 1
            progress = 1.0 if ended else epoch / (phase["epochs"] - 1)
            model.set_progress(progress)
            after = partial(average.update_parameters, model) if average else lambda: None
            loss, top1_train = self.epoch(step, optimizer, phase, epoch, note, kept, after)
            if isinstance(forward, FrozenForward):
                forward.rescale()
            if average:
                shown.set_progress(progress)
            top1_test = evaluate(shown, *self.test, precision=precision)
            row = {"phase": phase["name"], "epoch": epoch + 1, "loss": round(loss, 4),
                   "top1_train": round(top1_train, 2), "top1_test": round(top1_test, 2),
                   "seconds": round(time.time() - began, 1)}  # fmt: skip
            self.log.append(row)
            print(f"{note}: " + "  ".join(f"{k} {v}" for k, v in list(row.items())[2:]), flush=True)
            state = {"recipe": recipe_up_to(self.recipe, index), "phase": index, "epoch": epoch + 1, "log": self.log,
                     "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                     "generator": self.augmentation.generator.get_state(), "rng": torch.get_rng_state(),
                     "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
                     "precisions": self.precisions}  # fmt: skip
            if average:
                state["average"] = average.state_dict()
            save(state, self.out / "state.pt")
            self.saved()
            self.plot()
        save(
            {"config": config.to_dict(), "model": host(shown), "data": self.recipe["data"]},
            self.out / f"{phase['name']}.pt",
        )
        self.augmentation.crop = None
        return shown

    def plot(self) -> None:
        """Training curves; a disk that takes no picture does not end the training."""
        try:
            plot_curves(self.log, self.out / "curves.png")
        except OSError as error:
            print(f"curves.png could not be written ({error})", file=sys.stderr)

    def train(self) -> Path:
        """Run or resume every phase, re-estimate BatchNorm (not after a frozen phase), and write `out`/final.pt."""
        resumed = read_state(self.out / "state.pt", self.recipe)
        if resumed:
            self.log, self.precisions = resumed["log"], resumed.get("precisions", {})
            self.plot()  # a training that is killed while it draws leaves no curves, or half of them
        weights = model = None
        for index, phase in enumerate(self.recipe["phase"]):
            if resumed and resumed["phase"] > index:
                weights = read(self.out / f"{phase['name']}.pt", WEIGHTS, "remove the folder to start again")["model"]
                continue
            with told_of_memory(phase):
                model = self.phase(index, phase, weights, resumed if resumed and resumed["phase"] == index else None)
            weights = host(model)
        assert model is not None, "a recipe has at least one phase, and the last one is always entered"
        if not self.recipe["phase"][-1]["frozen"]:
            reestimate_batchnorm(model, self.batches(500, 10000))
        top1 = evaluate(model, *self.test)
        result = {"config": model.config.to_dict(), "model": host(model), "log": self.log, "recipe": self.recipe,
                  "data": self.recipe["data"], "command": self.command, "top1_float": top1,
                  "precisions": self.precisions}  # fmt: skip
        save(result, self.out / "final.pt")
        print(f"{self.out / 'final.pt'}: top-1 {top1:.2f} % on {len(self.test[1])} test images, last epoch")
        return self.out / "final.pt"


def train(
    path: Path,
    out: Path | None,
    device: torch.device,
    seed: int | None = None,
    compile_model: bool = False,
    precision: str = AUTO,
    net: str | None = None,
) -> Path:
    """Train or resume by the recipe at `path`, in `out` (build/<net>/train); returns the finished checkpoint's path.

    A `seed` that is not the recipe's has the folder seed<n> in `out`. `net` is what the recipe is called in the command
    that the checkpoint keeps. RecipeError, TrainingError, DataError.
    """
    recipe = load_recipe(path)
    for phase in recipe["phase"]:
        check_room(phase_config(recipe, phase), phase["name"])
    out, command = out or Path("build") / path.stem / "train", f"make train NET={net or path.stem}"
    if seed is not None and check_seed(seed) != recipe.get("seed", 0):
        recipe["seed"], out, command = seed, out / f"seed{seed}", f"{command} SEED={seed}"
    with alone(out, TrainingError(f"{out} is that of a training that runs; wait for it, or give another --out")):
        return Trainer(recipe, out, device, compile_model, command, precision).train()
