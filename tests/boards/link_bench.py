# amaranth: UnusedElaboratable=no
"""A tiny network on a board in simulation, for the tests of the link and of the host program."""

from pathlib import Path

import numpy as np

from popstream.boards.bench.harness import Script, compile_link
from popstream.boards.link.link import HostLink
from popstream.boards.link.protocol import Frame, Kind, encode
from popstream.hw.solver.solve import solve
from popstream.sim import golden
from tests.networks import random_images, random_network

ROOT = Path("build/tests")
GAP = 512  # clocks
CLASSES = 3


def tiny_link(channels: int = 1) -> HostLink:
    """2x2 pixels of 4 bits, 3 classes, about 150 cycles an image, 4 clocks a bit."""
    sizes = dict(height=2, width=2, channels=(2,), strides=(1,), classes=CLASSES, first_bits=(2, 4), last_bits=(2, 4))
    network = random_network(3, in_channels=channels, **sizes)
    return HostLink(network, solve(network, 150), 12e6, 3e6, GAP)


def start(link: HostLink) -> Script:
    """The link under Verilator."""
    return Script(compile_link(link, ROOT, optimize=1), link)


def payload(image: np.ndarray) -> bytes:
    """Of codes [C, H, W]."""
    return image.transpose(1, 2, 0).tobytes()


def classify(sequence: int, image: np.ndarray) -> bytes:
    """The request's bytes."""
    return encode(Frame(Kind.CLASSIFY, sequence, payload(image)))


def images_and_logits(link: HostLink, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes [N, C, H, W] and what golden makes of them."""
    images = random_images(link.network.input, 7, count)
    return images, golden.run(link.network, images)[0]
