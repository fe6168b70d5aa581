"""One training step: uint8 batch in, gradients applied. Eager, or recorded once as a CUDA graph and replayed.

A small network on a GPU is bound by launches, not by arithmetic: a recorded step is one launch for the forward and
the backward pass. The optimizer runs outside of the record, fused, so that the learning rate may change each step.
Nothing here waits for the device: losses and counts are tensors that the caller reads once an epoch.
"""

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from popstream.model.networks.layers import prepare
from popstream.model.training.fused import fused
from popstream.model.training.precision import BFLOAT16, Precision

WARM_UP = 3  # eager passes before recording, as torch.cuda.graphs asks for
Recorder = Callable[[Callable[[], None]], Callable[[], None]]


def make_optimizer(model: nn.Module, phase: dict) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, Adam, Adadelta or RMSprop with momentum; decay on conv and linear weights only."""
    weights = {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    decayed = [p for p in model.parameters() if id(p) in weights and p.requires_grad]
    plain = [p for p in model.parameters() if id(p) not in weights and p.requires_grad]
    groups = [{"params": decayed, "weight_decay": phase["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
    fused = True if decayed[0].is_cuda else None  # one launch for all parameters
    if phase["optimizer"] == "adam":
        return torch.optim.AdamW(groups, lr=phase["lr"], fused=fused)
    if phase["optimizer"] == "adadelta":
        return torch.optim.Adadelta(groups, lr=phase["lr"])
    if phase["optimizer"] == "rmsprop":
        return torch.optim.RMSprop(groups, lr=phase["lr"], momentum=phase["momentum"])
    return torch.optim.SGD(
        groups, lr=phase["lr"], momentum=phase["momentum"], nesterov=phase["momentum"] > 0, fused=fused
    )


def loss_of(
    logits: Tensor, labels: Tensor, taught: Tensor | None, label_weight: float, smoothing: float = 0.0
) -> Tensor:
    """Cross entropy; with a teacher label_weight * CE + KL(teacher || student), at temperature 1.

    `smoothing` is the share of a label that is spread over all classes.
    """
    loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    if taught is None:
        return loss
    student, teacher = F.log_softmax(logits, 1), F.log_softmax(taught.float(), 1)
    return label_weight * loss + F.kl_div(student, teacher, reduction="batchmean", log_target=True)


class Step:
    """model, teacher and optimizer as one call: images uint8 [N, C, H, W] and labels [N] to (loss, correct) tensors.

    `taught` [N, classes] is what the teacher says where that is known; the teacher is not asked then.
    """

    def __init__(
        self, model: Callable[[Tensor], Tensor], teacher: Callable[[Tensor], Tensor] | None, optimizer,
        label_weight: float, precision: Precision = BFLOAT16, smoothing: float = 0.0,
    ):  # fmt: skip
        self.model, self.teacher, self.optimizer, self.label_weight = model, teacher, optimizer, label_weight
        self.precision, self.smoothing = precision, smoothing

    def forward_backward(self, images: Tensor, labels: Tensor, taught: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gradients of one batch, written to the parameters."""
        x = prepare(images, self.precision.memory_format)
        # no cache of casted weights: a recorded pass must cast them anew each time, and each is used once in any case
        with self.precision.autocast(images.device, cache=not images.is_cuda):
            logits = self.model(x)
            if taught is None and self.teacher is not None:
                with torch.no_grad():
                    taught = self.teacher(x)
        loss = loss_of(logits.float(), labels, taught, self.label_weight, self.smoothing)
        loss.backward()
        return loss.detach(), (logits.argmax(1) == labels).sum()

    def __call__(self, images: Tensor, labels: Tensor, taught: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        result = self.forward_backward(images, labels, taught)
        self.optimizer.step()
        return result


def cuda_recorder(work: Callable[[], None]) -> Callable[[], None]:
    """Record `work` as a CUDA graph; the returned call replays it on the same memory."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class RecordedStep:
    """A Step recorded for one batch shape at the first call and replayed at the others.

    Where recording fails the step runs eagerly, with a warning. Warm-up passes leave no trace: the network's buffers
    (BatchNorm's statistics) and the device's random numbers are put back. `recorder` turns work into its replay; the
    tests give one that needs no GPU.
    """

    def __init__(self, step: Step, network: nn.Module, recorder: Recorder = cuda_recorder):
        self.step, self.network, self.recorder = step, network, recorder
        self.replay: Callable[[], None] | None = None
        self.failed = False

    def record(self, images: Tensor, labels: Tensor, taught: Tensor | None) -> None:
        self.images, self.labels = images.clone(), labels.clone()
        self.taught = None if taught is None else taught.clone()
        buffers = [b.detach().clone() for b in self.network.buffers()]
        cuda = images.is_cuda
        random = torch.cuda.get_rng_state(images.device) if cuda else torch.get_rng_state()

        def work() -> None:
            self.loss, self.correct = self.step.forward_backward(self.images, self.labels, self.taught)

        try:
            with on_side_stream(cuda):
                for _ in range(WARM_UP):
                    self.step.optimizer.zero_grad(set_to_none=True)
                    self.step.forward_backward(self.images, self.labels, self.taught)
            self.step.optimizer.zero_grad(set_to_none=True)  # gradients are allocated by the record, and stay there
            self.replay = self.recorder(work)
        finally:
            with torch.no_grad():
                for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                    buffer.copy_(before)
            if cuda:
                torch.cuda.set_rng_state(random, images.device)
            else:
                torch.set_rng_state(random)

    def __call__(self, images: Tensor, labels: Tensor, taught: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.replay is None and not self.failed:
            try:
                self.record(images, labels, taught)
            except Exception as error:  # a driver, an operation or a compiler that cannot: training goes on without
                warnings.warn(f"The step runs unrecorded, slower: {type(error).__name__}: {error}", stacklevel=2)
                self.failed = True
        if self.replay is None:
            return self.step(images, labels, taught)
        self.images.copy_(images)
        self.labels.copy_(labels)
        if self.taught is not None and taught is not None:
            self.taught.copy_(taught)
        self.replay()
        self.step.optimizer.step()
        return self.loss, self.correct


class on_side_stream:
    """Run a block on a CUDA stream of its own, ordered behind and before the current one; nothing on a CPU."""

    def __init__(self, cuda: bool):
        self.cuda = cuda

    def __enter__(self) -> None:
        if self.cuda:
            self.stream = torch.cuda.Stream()
            self.stream.wait_stream(torch.cuda.current_stream())
            self.context = torch.cuda.stream(self.stream)
            self.context.__enter__()

    def __exit__(self, *error) -> None:
        if self.cuda:
            self.context.__exit__(*error)
            torch.cuda.current_stream().wait_stream(self.stream)


def make_step(
    network: nn.Module, teacher: nn.Module | None, optimizer, label_weight: float, record: bool = True,
    compile_model: bool = False, precision: Precision = BFLOAT16, smoothing: float = 0.0,
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:  # fmt: skip
    """The fastest step that the device takes: recorded on a GPU (unless `record` is off), eager on a CPU.

    `compile_model` lets torch.compile fuse the elementwise operations.
    """
    model = torch.compile(network, dynamic=False) if compile_model else fused(network, precision)
    taught = None if teacher is None else fused(teacher, precision)
    step = Step(model, taught, optimizer, label_weight, precision, smoothing)
    on_gpu = next(network.parameters()).is_cuda
    return RecordedStep(step, network) if record and on_gpu else step
