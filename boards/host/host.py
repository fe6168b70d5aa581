"""Talks to a board: `popstream host COMMAND`. The network is known by the hash that the board gives.

ports                                 list the serial ports
identify --port PORT                  network, bits, geometry, folding, clock
classify --port PORT FILE...          image files, of any size and format that Pillow reads
data     --port PORT --images N       test images of the network's data set: accuracy and images/s
selftest --port PORT                  throughput without the link: one image, many times, on the board's clock
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from popstream.boards.host.client import Client, LinkError, open_port
from popstream.boards.link.protocol import MAX_BAUD, MAX_COUNT, Identity, Result
from popstream.model import data
from popstream.model.manifest import ManifestError, Network, find, load, zoo

ERROR = 1
MODES = {1: "L", 3: "RGB"}


class HostError(RuntimeError):
    """What was asked cannot be done; one line."""


def arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="popstream host", description="Talk to a board over its UART.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ports", help="list the serial ports")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--port", required=True, help="serial port, for example /dev/ttyUSB1 or COM3")
    common.add_argument("--baud", type=int, default=1_000_000, help="as in the bitstream (%(default)s)")
    common.add_argument("--timeout", type=float, default=5.0, help="seconds for a reply (%(default)s)")
    common.add_argument("--net", help="the network, if the board's is not in model/zoo")
    common.add_argument("--json", action="store_true", help="print one JSON object a line")
    commands.add_parser("identify", parents=[common], help="what is on the board")
    classify = commands.add_parser("classify", parents=[common], help="classify image files")
    classify.add_argument("files", nargs="+", type=Path, metavar="FILE")
    several = commands.add_parser("data", parents=[common], help="classify test images of a data set")
    several.add_argument("--set", choices=data.DATA_SETS, help="the network's own by default")
    several.add_argument("--images", type=int, default=100, help="how many (%(default)s)")
    selftest = commands.add_parser("selftest", parents=[common], help="throughput without the link")
    selftest.add_argument("--count", type=int, default=MAX_COUNT, help="images, 4 to 255 (%(default)s)")
    options = parser.parse_args(given)
    if options.command != "ports" and (not 1 <= options.baud <= MAX_BAUD or options.timeout <= 0):
        parser.error(f"--baud must be 1 to {MAX_BAUD} and --timeout above 0, not {options.baud} and {options.timeout}")
    if options.command == "data" and options.images < 1:
        parser.error(f"--images must be at least 1, not {options.images}")
    if options.command == "selftest" and not 4 <= options.count <= MAX_COUNT:
        parser.error(f"--count must be 4 to {MAX_COUNT}, not {options.count}")
    return options


def network_of(identity: Identity, net: str | None) -> Network | None:
    """The manifest with the board's hash: `net`, which must have it, or the one of model/zoo; None if there is none."""
    if net is not None:
        network = load(find(net))
        if bytes.fromhex(network.hash)[:16] != identity.network:
            raise HostError(
                f"The board does not hold {network.name} but {identity.name}, hash {identity.network.hex()[:8]}..."
            )
        return network
    for folder in zoo():
        try:
            network = load(folder)
        except ManifestError:
            continue
        if bytes.fromhex(network.hash)[:16] == identity.network:
            return network
    return None


def codes_of(pixels: np.ndarray, bits: int) -> bytes:
    """The payload of pixels uint8 [C, H, W]."""
    return data.quantize_pixels(pixels, bits).transpose(1, 2, 0).tobytes()


def read_image(path: Path, identity: Identity) -> tuple[np.ndarray, str | None]:
    """Pixels uint8 [C, H, W] of a file, and a notice if it had to be resized. HostError if it is no image."""
    from PIL import Image, UnidentifiedImageError

    channels, height, width = identity.shape
    if channels not in MODES:
        raise HostError(f"Image files have 1 or 3 channels, the board's network {channels}")
    try:
        with Image.open(path) as file:
            image = file.convert(MODES[channels])
    except UnidentifiedImageError:
        raise HostError(f"{path} is not an image that Pillow reads") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HostError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    notice = None
    if image.size != (width, height):
        notice = f"{path}: resized from {image.width}x{image.height} to {width}x{height}"
        image = image.resize((width, height), Image.Resampling.BOX if min(image.size) > width else None)
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


def classify_files(client: Client, network: Network | None, options: argparse.Namespace) -> None:
    for path in options.files:
        pixels, notice = read_image(path, client.identity)
        if notice:
            print(notice, file=sys.stderr)
        answer = named(client.classify(codes_of(pixels, client.identity.input_bits)), network)
        if options.json:
            show({"file": str(path), **answer}, True)
        else:
            print(f"{path}: {answer['class']} ({answer['cycles']:,} cycles; logits {answer['logits']})")


def classify_data(client: Client, network: Network | None, options: argparse.Namespace) -> None:
    name = options.set or (network.data if network else None)
    if name not in data.DATA_SETS:
        raise HostError(f"Give the data set with --set ({', '.join(data.DATA_SETS)}); the board's network names {name}")
    loaded, identity = data.load(name), client.identity
    if loaded.test_images.shape[1:] != identity.shape:
        raise HostError(f"Data set {name} has {loaded.test_images.shape[1:]} images, the board takes {identity.shape}")
    count = min(options.images, len(loaded.test_images))
    right, cycles, began = 0, 0, time.monotonic()
    for index in tqdm(range(count), desc=name, unit="image", disable=None):
        result = client.classify(codes_of(loaded.test_images[index], identity.input_bits))
        right += result.label == loaded.test_labels[index]
        cycles += result.cycles
        if options.json:
            show({"image": index, "truth": int(loaded.test_labels[index]), **named(result, network)}, True)
    seconds = time.monotonic() - began
    content = {"data": name, "images": count, "top1": round(100 * right / count, 2)}
    content |= {"images_per_second": round(count / seconds, 1), "cycles_per_image": cycles / count}
    show(content | {"repeats": client.repeats}, options.json)


def self_test(client: Client, options: argparse.Namespace) -> None:
    identity = client.identity
    client.classify(bytes(identity.image_bytes))
    interval = client.interval(options.count)
    rate = {"images": options.count, "cycles_per_image": interval, "cycles_estimated": identity.interval}
    show(rate | {"images_per_second": round(identity.clock_hz / interval, 1)}, options.json)


def list_ports() -> int:
    from serial.tools.list_ports import comports

    found = sorted(comports())
    for port in found:
        print(f"{port.device:20} {port.description}")
    if not found:
        print("no serial ports", file=sys.stderr)
    return 0


def main(given: list[str] | None = None) -> int:
    """The exit status: 0, or 1 with one line on the standard error."""
    options = arguments(given)
    try:
        if options.command == "ports":
            return list_ports()
        with open_port(options.port, options.baud) as port:
            client = Client(port, options.timeout)
            network = network_of(client.identity, options.net)
            if options.command == "identify":
                show(describe(client.identity, network), options.json)
            elif options.command == "classify":
                classify_files(client, network, options)
            elif options.command == "data":
                classify_data(client, network, options)
            else:
                self_test(client, options)
    except (LinkError, HostError, ManifestError, data.DataError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    except ModuleNotFoundError as error:
        print(f"error: package {error.name} is missing; `make host` sets it up", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
