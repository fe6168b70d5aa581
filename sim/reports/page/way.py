"""The way of a few real images through the golden model: maps of chosen nodes as PNGs in the page, and the logits."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from popstream.model.data import DATA_SETS
from popstream.model.manifest import Network
from popstream.sim import golden
from popstream.sim.reports.page.layers import chosen_taps
from popstream.sim.rtl.images import Images, images_for

__all__ = ["examples", "tiled"]

SHOWN = 3  # images, and
SEARCHED = 50  # so many are searched for the first that the network gets wrong
EDGE = 132  # CSS pixels: about the width of a picture of maps
BRIGHTEST = 0.995  # of the values are at most as bright as can be
NEGATIVE, ZERO, POSITIVE = (33, 102, 172), (247, 246, 242), (214, 96, 20)
DARK, LIGHT = (23, 32, 54), (255, 221, 138)


def mixed(share: np.ndarray, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    """Colors float [..., 3] between `low` (share 0) and `high` (share 1)."""
    return share[..., None] * np.array(high) + (1 - share[..., None]) * np.array(low)


def colors(values: np.ndarray, kind: str) -> np.ndarray:
    """Colors uint8 [..., 3] of codes (dark is 0), or of signed values: blue below 0, orange above.

    The scale ends where so few values are larger that they would leave the others without colour.
    """
    size = np.abs(values)
    share = np.clip(values / max(1.0, float(np.quantile(size, BRIGHTEST))), -1, 1)
    if kind == "codes":
        return mixed(share, DARK, LIGHT).round().astype(np.uint8)
    shown = np.where(share[..., None] < 0, mixed(-share, ZERO, NEGATIVE), mixed(share, ZERO, POSITIVE))
    return shown.round().astype(np.uint8)


def tiled(maps: np.ndarray) -> np.ndarray:
    """Maps uint8 [C, H, W, 3] side by side and below each other as uint8 [rows, columns, 4], a clear line between."""
    count, height, width, _ = maps.shape
    across = next(n for n in range(1, count + 1) if count % n == 0 and n * n >= count)
    line = int(height * width > 1)  # single values need none
    picture = np.zeros((count // across, height + line, across, width + line, 4), np.uint8)
    picture[:, :height, :, :width, :3] = maps.reshape(-1, across, height, width, 3).transpose(0, 2, 1, 3, 4)
    picture[:, :height, :, :width, 3] = 255
    whole = picture.reshape(count // across * (height + line), across * (width + line), 4)
    return whole[: len(whole) - line, : whole.shape[1] - line]


def picture(pixels: np.ndarray) -> dict[str, Any]:
    """Pixels uint8 [H, W, 3 or 4] as a data URI, and the size at which it is shown: whole CSS pixels each."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    height, width = pixels.shape[:2]
    scale = max(1, round(EDGE / max(height, width)))
    source = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    return dict(src=source, width=width * scale, height=height * scale)


def way(network: Network, images: Images, index: int) -> dict[str, Any]:
    """One image: its picture, the maps of the chosen nodes, logits and label."""
    taps = chosen_taps(network)
    logits, values = golden.run(network, images.codes[index : index + 1], [node.name for node in taps])
    pixels = images.pixels[index].transpose(1, 2, 0)
    shown = pixels if pixels.shape[2] == 3 else pixels[:, :, :1].repeat(3, axis=2)
    maps = [
        {"node": node.name, "what": f"{node.bits}-bit {node.kind}", "shape": " × ".join(map(str, node.shape))}
        | picture(tiled(colors(values[node.name][0], node.kind)))
        for node in taps
    ]
    label = None if images.labels is None else network.classes[int(images.labels[index])]
    given = network.classes[int(golden.labels(logits)[0])]
    return dict(index=index, label=label, given=given, logits=logits[0].tolist(), image=picture(shown), maps=maps)


def examples(network: Network) -> tuple[list[dict[str, Any]], str]:
    """The first test images, and the first that the network gets wrong; and a sentence on what they are, or why none.

    Pieces of photographs where the data set cannot be had. Only images [1 or 3, H, W] can be shown.
    """
    if network.input.shape[0] not in (1, 3):
        return [], f"Images of {network.input.shape[0]} channels have no colours to be shown in."
    if network.data not in DATA_SETS:
        return [], f"Images are left out: data set {network.data!r} is not known here."
    images = images_for(network, SEARCHED)
    chosen = list(range(SHOWN))
    if images.labels is None:
        return [way(network, images, index) for index in chosen], f"{SHOWN} images of {images.source}, without labels."
    wrong = np.flatnonzero(golden.labels(golden.run_batches(network, images.codes)) != images.labels)
    chosen += [int(index) for index in wrong[:1] if index not in chosen]
    more = f" and the first of {SEARCHED} that the network gets wrong" if len(chosen) > SHOWN else ""
    return [way(network, images, index) for index in chosen], f"The first {SHOWN} {images.source}{more}."
