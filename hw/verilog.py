# amaranth: UnusedElaboratable=no
"""Verilog of a network's accelerator: `popstream verilog NET` writes top.v, and what says how to use it.

    top.v          module `top`, or of another name; its submodules are called after it, so that two designs go together
    ports.json     each port with direction, width and meaning, how a beat is laid out, the folding, the cycles an
                   image should take, FIFO depths, taps, registers
    folding.json   the folding
    top.core       for FuseSoC
    top.vlt        waivers for Verilator

The same network, folding and options give the same bytes, in whatever folder and wherever this program lies.
"""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from amaranth.back import verilog

from popstream.hw.accelerator import Accelerator, Tap
from popstream.hw.blocks.head import LABEL_BITS, LOGIT_BITS
from popstream.hw.folding.folding import Folding, interval
from popstream.hw.folding.room import Reload
from popstream.hw.lib.models import MODELS, SIMULATION
from popstream.hw.packaging import TOP, check_module, files, fusesoc_core, waivers
from popstream.hw.wrappers.registers import REGISTERS
from popstream.hw.wrappers.wrapper import Wrapper
from popstream.model.manifest import Network

__all__ = ["describe", "write"]


def ports(accelerator: Accelerator) -> list[dict[str, Any]]:
    """Name, direction, width and meaning of every port of the Verilog module: clock, input, output, taps."""
    network = accelerator.network
    channels, height, width = network.input.shape
    bits, classes = network.entry_bits, network.output.shape[0]
    pixel = f"one pixel: channel c is bits [{bits}*c +: {bits}], unsigned; by rows, {height} x {width} an image"
    image = (
        f"one image: label is bits [0 +: {LABEL_BITS}], unsigned; logit k is bits "
        f"[{LABEL_BITS} + {LOGIT_BITS}*k +: {LOGIT_BITS}], two's complement"
    )
    listed = [
        ("clk", "input", 1, "clock, rising edge"),
        ("rst", "input", 1, "synchronous reset, high; drops everything in flight"),
        ("i__payload", "input", channels * bits, pixel),
        ("i__valid", "input", 1, "i__payload holds a pixel; stays until i__ready"),
        ("i__ready", "output", 1, "the pixel is taken in this cycle"),
        ("o__payload", "output", LABEL_BITS + classes * LOGIT_BITS, image),
        ("o__valid", "output", 1, "o__payload holds a result; stays until o__ready"),
        ("o__ready", "input", 1, "the result is taken in this cycle"),
    ]
    for tap in accelerator.taps:
        sign = "two's complement" if tap.signed else "unsigned"
        beside = "" if tap.pixels == 1 else f"; of each of {tap.pixels} pixels, of which {tap.kept} count"
        raw = "" if tap.correction is None or not tap.correction.any() else "; minus the channel's correction"
        listed += [
            (f"{tap.port}_valid", "output", 1, f"a beat of node {tap.node!r} is transferred in this cycle"),
            (
                f"{tap.port}_data",
                "output",
                tap.bits,
                f"{tap.lanes} channels of {tap.width} bits, {sign}, lowest channel first{raw}{beside}",
            ),
        ]
    if accelerator.counted:
        size = len(accelerator.counted)
        listed += [
            ("lanes_busy", "output", size, "bit k: the lanes of the k-th of `counted` work in this cycle"),
            ("lanes_blocked", "output", size, "bit k: they wait for room behind; neither: they wait for a window"),
        ]
    return [dict(name=name, direction=way, width=size, meaning=text) for name, way, size, text in listed]


TAP_NUMBERS = ("lanes", "width", "signed", "beats", "pixels", "kept", "ahead")


def describe_tap(tap: Tap) -> dict[str, Any]:
    correction = None if tap.correction is None else tap.correction.tolist()
    numbers = {name: getattr(tap, name) for name in TAP_NUMBERS}
    return dict(node=tap.node, port=tap.port, **numbers, correction=correction)


def describe(accelerator: Accelerator, name: str = TOP, wrapper: Wrapper | None = None) -> dict[str, Any]:
    """The content of ports.json."""
    network, folding = accelerator.network, accelerator.folding
    channels, height, width = network.input.shape
    cycles = interval(network, folding)
    own = [] if wrapper is not None and wrapper.bus == "axi" else ports(accelerator)
    return {
        "top": name,
        "network": network.name,
        "hash": network.hash,
        "input": dict(channels=channels, height=height, width=width, bits=network.entry_bits),
        "classes": list(network.classes),
        "ports": own + [port._asdict() for port in (wrapper.added if wrapper is not None else ())],
        "bus": "plain" if wrapper is None else wrapper.bus,
        "registers": list(REGISTERS) if wrapper is not None and wrapper.registers else [],
        "folding": folding.to_dict(),
        "interval": max(cycles.values()),
        "intervals": cycles,
        "latencies": accelerator.latencies,
        "fifos": {node: asdict(depths) for node, depths in accelerator.depths.items()},
        "taps": [describe_tap(tap) for tap in accelerator.taps],
        "counted": accelerator.counted,
    }


def write(
    network: Network,
    folding: Folding,
    folder: Path,
    taps: bool = False,
    counters: bool = False,
    *,
    name: str = TOP,
    bus: str = "plain",
    registers: bool = False,
    models: bool = False,
    reload: Reload | None = None,
) -> Path:
    """Write the files above for a module `name` into `folder` and return the path of NAME.v.

    models: some blocks are models for a simulator, which runs them faster (hw.lib.models); not for synthesis.
    taps, counters, reload: as in Accelerator. bus, registers: as in hw.wrappers.wrapper.Wrapper, which has no taps and
    no counters.
    Everything is written beside the folder's content first; a failure leaves what was there before.
    """
    check_module(name)
    folder = Path(folder)
    wrapped = registers or bus != "plain"
    if wrapped and (taps or counters):
        raise ValueError("Taps and counters are for the plain bus without registers")
    accelerator = Accelerator(network, folding, taps, counters=counters, reload=reload)
    wrapper = Wrapper(accelerator, bus, registers) if wrapped else None
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    design = accelerator if wrapper is None else wrapper
    platform = SIMULATION if models else None
    text = verilog.convert(design, name=name, platform=platform, strip_internal_attrs=True, emit_src=False)
    if models:
        text = f"{text}\n{MODELS.read_text()}"
    width, height = network.input.shape[2], network.input.shape[1]
    about = f"Streaming accelerator, {width}x{height} pixels to {network.output.shape[0]} classes, bus {bus}"
    content = {
        f"{name}.v": text,
        "ports.json": json.dumps(describe(accelerator, name, wrapper), indent=1) + "\n",
        f"{name}.core": fusesoc_core(name, about),
        f"{name}.vlt": waivers(name),
    }
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f".verilog.{os.getpid()}"
    scratch.mkdir()
    try:
        for file, lines in content.items():
            (scratch / file).write_text(lines)
        accelerator.folding.save(scratch / "folding.json")
        for file in files(name):
            (scratch / file).replace(folder / file)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder / f"{name}.v"
