"""Random networks whose hardware has one bit of a weight flipped: a campaign must find it."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from popstream.soak import networks


def draw(rng: np.random.Generator, place: Path) -> None:
    """As ever, but for the bit; a network that has that weight, which linear layers in a row lack."""
    networks.draw(rng, place)
    while "stem.conv" not in (place / "network.json").read_text():
        networks.draw(rng, place)
    (place / networks.FAULT).write_text("stem.conv.weight[0,0,0,0]^0")


KIND = replace(networks.KIND, draw=draw)
