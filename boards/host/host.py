"""Talks to a board: `popstream host`. The network is known by the hash that the board gives."""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from popstream.boards.host.client import Client
from popstream.boards.link.protocol import Identity, Result
from popstream.model import data
from popstream.model.data.pictures import MOST_PIXELS, PictureError, open_picture
from popstream.model.manifest import ManifestError, Network, find, load, zoo

MODES = {1: "L", 3: "RGB"}


class HostError(RuntimeError):
    """What was asked cannot be done; one line."""


def network_of(identity: Identity, net: str | None, folders: Iterable[Path] | None = None) -> Network | None:
    """The manifest with the board's hash: `net`, which must have it, or the one of model/zoo; None if there is none."""
    if net is not None:
        network = load(find(net))
        if bytes.fromhex(network.hash)[:16] != identity.network:
            raise HostError(
                f"The board does not hold {network.name} but {identity.name}, hash {identity.network.hex()[:8]}..."
            )
        return agreed(identity, network)
    for folder in zoo() if folders is None else folders:
        try:
            network = load(folder)
        except ManifestError:
            continue
        if bytes.fromhex(network.hash)[:16] == identity.network:
            return agreed(identity, network)
    return None


def agreed(identity: Identity, network: Network) -> Network:
    """The network, where the board's other claims are true of it; else HostError."""
    claims = identity.shape, identity.input_bits, identity.classes
    true = network.input.shape, network.entry_bits, len(network.classes)
    if claims != true:
        raise HostError(
            f"The board claims {network.name} with shape, bits a pixel and classes of {claims}, but it has {true}; its "
            "bitstream is damaged"
        )
    return network


def codes_of(pixels: np.ndarray, bits: int) -> bytes:
    """The payload of pixels uint8 [C, H, W]."""
    return data.quantize_pixels(pixels, bits).transpose(1, 2, 0).tobytes()


def read_image(path: Path, identity: Identity) -> tuple[np.ndarray, str | None]:
    """Pixels uint8 [C, H, W] of a file, and a notice if it had to be resized. HostError if it is no image."""
    from PIL import Image

    channels, height, width = identity.shape
    if channels not in MODES:
        raise HostError(f"Image files have 1 or 3 channels, the board's network {channels}")
    try:
        image = open_picture(path, MODES[channels])
    except PictureError as error:
        raise HostError(str(error)) from None
    except OSError as error:
        raise HostError(f"{path} cannot be read ({error.strerror})") from None
    notice = None
    if image.size != (width, height):
        notice = f"{path}: resized from {image.width}x{image.height} to {width}x{height}"
        way = Image.Resampling.BOX if min(image.size) > width else None
        if width * image.height > MOST_PIXELS:  # which Pillow would make first, for a board that claims long rows
            image = image.resize((image.width, height), way)
        image = image.resize((width, height), way)
    pixels = np.asarray(image, dtype=np.uint8).reshape(height, width, channels)
    return pixels.transpose(2, 0, 1), notice


def describe(identity: Identity, network: Network | None) -> dict[str, Any]:
    """The identity for people and programs."""
    return {
        "network": identity.name,
        "manifest": network.name if network else None,
        "hash": identity.network.hex(),
        "weight_bits": identity.weight_bits,
        "act_bits": identity.act_bits,
        "shape": list(identity.shape),
        "input_bits": identity.input_bits,
        "classes": identity.classes,
        "folding": identity.folding.hex(),
        "lanes": identity.lanes,
        "multipliers": identity.multipliers,
        "interval_estimated": identity.interval,
        "clock_mhz": identity.clock_hz / 1e6,
        "images_per_second_estimated": round(identity.clock_hz / identity.interval, 1),
        "baud": identity.baud,
    }


def show(content: dict[str, Any], as_json: bool) -> None:
    """One JSON line, or a line a field."""
    if as_json:
        print(json.dumps(content), flush=True)
    else:
        for name, value in content.items():
            print(f"{name.replace('_', ' '):28} {value if value is not None else '-'}")


def named(result: Result, network: Network | None) -> dict[str, Any]:
    """A result with its class's name."""
    name = network.classes[result.label] if network else str(result.label)
    return {"label": result.label, "class": name, "cycles": result.cycles, "logits": list(result.logits)}


def classify_files(client: Client, network: Network | None, files: Iterable[Path], as_json: bool = False) -> None:
    """Classify image files, of any size, in a format of pictures.FORMATS; prints a line for each."""
    for path in files:
        pixels, notice = read_image(path, client.identity)
        if notice:
            print(notice, file=sys.stderr)
        answer = named(client.classify(codes_of(pixels, client.identity.input_bits)), network)
        if as_json:
            show({"file": str(path), **answer}, True)
        else:
            print(f"{path}: {answer['class']} ({answer['cycles']:,} cycles; logits {answer['logits']})")


def classify_data(
    client: Client, network: Network | None, images: int, data_set: str | None = None, as_json: bool = False
) -> None:
    """Classify the first test images of the data set, by default the network's; prints accuracy and images/s."""
    name = data_set or (network.data if network else None)
    if name not in data.DATA_SETS:
        raise HostError(f"Give the data set with --set ({', '.join(data.DATA_SETS)}); the board's network names {name}")
    loaded, identity = data.load(name), client.identity
    if loaded.test_images.shape[1:] != identity.shape:
        raise HostError(f"Data set {name} has {loaded.test_images.shape[1:]} images, the board takes {identity.shape}")
    count = min(images, len(loaded.test_images))
    right, cycles, began = 0, 0, time.monotonic()
    for index in tqdm(range(count), desc=name, unit="image", disable=None):
        result = client.classify(codes_of(loaded.test_images[index], identity.input_bits))
        right += result.label == loaded.test_labels[index]
        cycles += result.cycles
        if as_json:
            show({"image": index, "truth": int(loaded.test_labels[index]), **named(result, network)}, True)
    seconds = time.monotonic() - began
    content = {"data": name, "images": count, "top1": round(100 * right / count, 2)}
    content |= {"images_per_second": round(count / seconds, 1), "cycles_per_image": cycles / count}
    show(content | {"repeats": client.repeats}, as_json)


def self_test(client: Client, count: int, as_json: bool = False) -> None:
    """Throughput without the link: one image, `count` times, on the board's clock."""
    identity = client.identity
    client.classify(bytes(identity.image_bytes))
    interval = client.interval(count)
    rate = {"images": count, "cycles_per_image": interval, "cycles_estimated": identity.interval}
    show(rate | {"images_per_second": round(identity.clock_hz / interval, 1)}, as_json)


def ports() -> list[tuple[str, str]]:
    """Device and description of every serial port."""
    from serial.tools.list_ports import comports

    return [(port.device, port.description) for port in sorted(comports())]
