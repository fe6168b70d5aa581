"""The devices of the boards: capacity, synthesis, what each mapped cell takes, and how nextpnr is told of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from popstream.hw.synthesis.yosys import ECP5_85, ICE40_UP5K, Device

__all__ = ["DEVICES", "FAMILIES", "chip_database", "family_of", "nextpnr_options"]

FAMILIES = {"LFE5": "ecp5", "iCE40": "ice40", "GW": "gowin", "xc7": "xilinx"}  # by the beginning of a device's name
ECP5_SIZES = {"12F": "12k", "25F": "25k", "45F": "45k", "85F": "85k"}
ECP5_KINDS = {"LFE5U": "", "LFE5UM": "um-", "LFE5UM5G": "um5g-"}
ECP5_PACKAGES = {"BG256": "CABGA256", "BG381": "CABGA381", "BG554": "CABGA554", "MG285": "CSFBGA285"}


def ecp5(name: str, lut: int, ebr: int, dsp: int) -> Device:
    return replace(ECP5_85, name=name, capacity={"lut": lut, "ff": lut, "ebr": ebr, "dsp": dsp})


def weigh(**resources: str) -> dict[str, tuple[str, int]]:
    """{cell: (resource, how many)} of the cells that take each resource, "NAME" or "NAME:how_many"."""
    listed = [(cell.split(":"), resource) for resource, cells in resources.items() for cell in cells.split()]
    return {name: (resource, int(weight[0]) if weight else 1) for (name, *weight), resource in listed}


# A block RAM has 18 kbit, a multiplier is 18 x 18; two of 9 x 9 are counted as two.
GOWIN_CELLS = weigh(
    lut="LUT1 LUT2 LUT3 LUT4 ALU RAM16SDP1:4 RAM16SDP2:4 RAM16SDP4:4",
    ff="DFF*",
    ebr="SP SPX9 DPB DPX9B SDPB SDPX9B pROM pROMX9",
    dsp="MULT9X9 MULT18X18 MULT36X36:4",
)
# LUTs have six inputs, a block RAM is a RAMB18 of 18 kbit, a multiplier is a DSP48E1 (25 x 18).
XILINX_CELLS = weigh(
    lut="LUT1 LUT2 LUT3 LUT4 LUT5 LUT6 INV SRL16E SRLC32E RAM32X1S RAM64X1S RAM128X1S:2 RAM256X1S:4 "
    "RAM32X1D:2 RAM64X1D:2 RAM128X1D:4 RAM32M:4 RAM64M:4",
    ff="FD*",
    ebr="RAMB18E1 RAMB36E1:2",
    dsp="DSP48E1",
)


def gowin(name: str, family: str, lut: int, ff: int, ebr: int, dsp: int) -> Device:
    return Device(name, f"synth_gowin -family {family} -nowidelut", dict(lut=lut, ff=ff, ebr=ebr, dsp=dsp), GOWIN_CELLS)


def xilinx(name: str, lut: int, ff: int, ebr: int, dsp: int) -> Device:
    return Device(name, "synth_xilinx -family xc7 -flatten", dict(lut=lut, ff=ff, ebr=ebr, dsp=dsp), XILINX_CELLS)


# Eight cells of an iCE40 share a clock enable, so one for less than four flip-flops wastes cells.
# An LFE5U-12F is the 25F's die, all of which the open tools use.
DEVICES: Mapping[str, Device] = {
    "LFE5U-12F": ecp5("LFE5U-12F", 24_288, 56, 28),
    "LFE5U-25F": ecp5("LFE5U-25F", 24_288, 56, 28),
    "LFE5U-45F": ecp5("LFE5U-45F", 43_848, 108, 72),
    "LFE5U-85F": ECP5_85,
    "LFE5UM-45F": ecp5("LFE5UM-45F", 43_848, 108, 72),
    "LFE5UM5G-45F": ecp5("LFE5UM5G-45F", 43_848, 108, 72),
    "LFE5UM5G-85F": ecp5("LFE5UM5G-85F", 83_640, 208, 156),
    "iCE40UP5K": replace(ICE40_UP5K, synthesis=f"{ICE40_UP5K.synthesis} -dffe_min_ce_use 4"),
    "GW1NR-9C": gowin("GW1NR-9C", "gw1n", 8_640, 6_480, 26, 20),
    "GW2A-18C": gowin("GW2A-18C", "gw2a", 20_736, 15_552, 46, 48),
    "xc7a100ti": xilinx("XC7A100T", 63_400, 126_800, 270, 240),
}


def family_of(part: str) -> str:
    """The family of a device's name. ValueError for a name of none."""
    for beginning, family in FAMILIES.items():
        if part.startswith(beginning):
            return family
    raise ValueError(f"Device {part} is of no known family; their names begin with {', '.join(FAMILIES)}")


def chip_database(part: str) -> str:
    """The name under which Apicula knows a Gowin device: memory in the package (R) makes no difference."""
    return part.replace("GW1NR", "GW1N")


def nextpnr_options(platform: Any, part: str) -> list[str]:
    """Arguments of nextpnr that name `platform`'s device, package and speed grade."""
    family = family_of(part)
    if family == "ice40":
        return ["--up5k", "--package", platform.package.lower()]
    if family == "gowin":
        return ["--device", platform.part, "--vopt", f"family={chip_database(part)}"]
    if family == "ecp5":
        kind, _, size = part.partition("-")
        option = f"--{ECP5_KINDS[kind]}{ECP5_SIZES[size]}"
        return [option, "--package", ECP5_PACKAGES[platform.package], "--speed", platform.speed]
    raise ValueError(f"There is no open place and route for {part}")
