"""Files of figures as the other commands leave them, for pages in tests: made up, of no network that was measured."""

from pathlib import Path

from popstream.hw.solver.solve import solve
from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.sim.reports.page.layers import layers

BOARD = "ulx3s-25f"
PERIOD = 8.0  # ns, of the slowest path


def write_figures(network: Network, root: Path) -> None:
    """sim.json, accuracy.json, occupancy.json, bench.json and a bitstream's figures of `network`."""
    folder, hashed = root / network.name, {"network": network.name, "network_hash": network.hash}
    folding = solve(network, 5_000)
    write_json(folder / "sim.json", hashed | {
        "images": 23, "images_from": "photographs", "tap_images": 7, "values_compared": 123_457, "mismatches": 0,
        "divergence": None, "interval_cycles": 4_321.0, "predicted_interval_cycles": 4_320, "latency_cycles": 9_876,
    })  # fmt: skip
    write_json(folder / "accuracy.json", hashed | {
        "images": 300, "rtl_images": 40, "top1_golden": 91.23, "top1_rtl": 92.34, "mismatches_frozen_golden": 0,
        "mismatches_golden_rtl": 2, "first_divergence": "node stem.conv (conv), image 3",
    })  # fmt: skip
    over_time = {"busy_over_time": [0, 40, 90, 100], "blocked_over_time": [0, 30, 10, 0]}
    write_json(folder / "occupancy.json", hashed | {
        "images": 12, "interval_cycles": 4_321.0, "busy": 76.5, "lanes": 44, "column_cycles": 64,
        "result_cycles": [100, 200],
        "stages": [{"node": layer["node"], "busy": 61.5, "blocked": 30.25, "starved": 8.25, **over_time}
                   for layer in layers(network)],
    })  # fmt: skip
    totals = {"lut": 24_288, "ff": 24_288, "ebr": 56, "dsp": 28}
    write_json(folder / BOARD / "bitstream.json", hashed | {
        "board": BOARD, "device": "LFE5U-25F", "fmax_mhz": 125.5, "target_mhz": 60.0, "timing_met": True, "seed": 1,
        "seeds": {"0": 59.5, "1": 125.5}, "minutes": 2.5, "interval_cycles": 4_320, "images_per_second": 13_889,
        "lut": 4_051, "ff": 3_981, "ebr": 6, "dsp": 3, "tools": {"yosys": "yosys 0.70"},
        "folding": folding.to_dict(), **{f"{name}_total": total for name, total in totals.items()},
    })  # fmt: skip
    write_json(folder / BOARD / "seed1" / "report.json", nextpnr_report())
    row = {"board": BOARD, "interval_cycles": 4_322.5, "latency_us": 78.5, "images_per_s": 29_034, "busy": 76.5}
    write_json(root / "bench.json", [hashed | row])


def nextpnr_report() -> dict:
    """A report of one clock, with a path within it and one from outside, which is no path of the clock."""
    clock, outside = "posedge $glbnet$clk", "<async>"
    far = {"cell": "link.accelerator.stem.o__valid_TRELLIS_FF_Q_DI_LUT4_Z", "loc": [3, 4], "port": "Q"}
    near = {"cell": "link.accelerator.<b>linear</b>", "loc": [13, 2], "port": "A"}
    parts = [
        {"type": "clk-to-q", "delay": 0.5, "from": far, "to": far},
        {"type": "routing", "delay": 6.25, "from": far, "to": near},
        {"type": "logic", "delay": 0.25, "from": near, "to": near},
        {"type": "setup", "delay": 1.0, "from": near, "to": near},
    ]
    longer = [{"type": "routing", "delay": 99.0, "from": far, "to": near}]
    return {
        "fmax": {"$glbnet$clk": {"achieved": 125.5, "constraint": 60.001}},
        "critical_paths": [
            {"from": outside, "to": clock, "path": longer}, {"from": clock, "to": clock, "path": parts},
        ],
    }  # fmt: skip
