"""Clocks, rates and resources: bitstreams, the cost model, the unit by itself, and how cost grows with the bits."""

from typing import Any

from docs import records
from docs.tables.markdown import count, measured, percent, table
from popstream.boards.bench.published import PUBLISHED
from popstream.hw.synthesis.alone import BLOCKS
from popstream.sim.reports.page.design import KINDS

__all__ = ["bits", "bitstreams", "cost", "overhead", "throughput", "throughput_full", "unit"]

Result = dict[str, Any]
RESOURCES = ("lut", "ff", "ebr", "dsp")


def used(result: Result, name: str, total: bool = True) -> str:
    """A resource and its share, or its total."""
    number = count(result[name])
    if not result.get(f"{name}_total"):
        return number
    share = (
        f" of {count(result[f'{name}_total'])}" if total else f" ({100 * result[name] / result[f'{name}_total']:.0f} %)"
    )
    return number + share


def design(result: Result) -> str:
    return (
        result["network"].replace("-untrained", ", untrained")
        if "untrained" in result["network"]
        else f"`{result['network']}`"
    )


def ours() -> list[dict[str, Any]]:
    """The records of ResNet-20, fastest first, and behind them the others."""
    found = records.load("bench")
    return sorted(found, key=lambda r: ("resnet20" not in r["result"]["network"], -r["result"]["images_per_s"]))


def throughput() -> str:
    """ResNet-20's trained networks beside published designs, fastest first; clocks are routed, not run on a board.

    Of several boards with the same device, the fastest.
    """
    rows, seen = [], set()
    for record in sorted(ours(), key=lambda record: -record["result"]["images_per_s"]):
        result = record["result"]
        named = result["network"], result["device"]
        if "resnet20" in result["network"] and result["top1"] is not None and named not in seen:
            seen.add(named)
            rows.append((result["images_per_s"], [
                f"**popstream** {design(result)}", result["device"], percent(result["top1"]),
                f"**{count(result['images_per_s'])}**", f"{count(result['lut'])} LUT4", count(result["dsp"]),
            ]))  # fmt: skip
    for entry in PUBLISHED:
        if entry.images_per_s is None:
            continue
        lut = "-" if entry.lut is None else f"{count(entry.lut)} LUT6"
        name = f"[{entry.design}]({entry.source})" if entry.source else entry.design
        cells = [name, entry.device, percent(entry.top1, 1), count(entry.images_per_s), lut, count(entry.dsp)]
        rows.append((entry.images_per_s, cells))
    rows.sort(key=lambda row: -row[0])
    return table(("design", "device", "top-1>", "images/s>", "LUT>", "DSP>"), [cells for _, cells in rows])


def throughput_full() -> str:
    """All that was measured of ours."""
    found, rows = ours(), []
    for record in found:
        result = record["result"]
        rows.append([
            design(result), f"{result['device']} ({result['board']})", count(result["images_per_s"]),
            f"{result['target_mhz']:g} / {result['fmax_mhz']:.1f}", count(result["interval_cycles"]),
            percent(result["busy"], 1), *(used(result, name, total=False) for name in RESOURCES),
            f"{result['lut_per_lane']:.2f}", percent(result["top1"]),
        ])  # fmt: skip
    columns = ("design", "device", "images/s>", "MHz wanted / reached>", "cycles an image>", "busy>", "LUT>", "FF>",
               "EBR>", "DSP>", "LUT a lane>", "top-1>")  # fmt: skip
    return table(columns, rows) + "\n\n" + measured(found)


def bitstreams(network: str) -> str:
    """Every board's bitstream of a network; LUT as nextpnr counts them."""
    found = [record for record in records.load("bitstream") if record["result"]["network"] == network]
    rows = []
    for record in found:
        result = record["result"]
        rows.append([
            result["board"], result["device"], *(used(result, name) for name in RESOURCES),
            f"{result['target_mhz']:g} / {result['fmax_mhz']:.2f}" + (" *" if result.get("untimed_cells") else ""),
            count(result["interval_cycles"]), str(result["seed"]), count(result["minutes"], 1),
        ])  # fmt: skip
    columns = ("board", "device", "LUT>", "FF>", "EBR>", "DSP>", "MHz wanted / reached>", "cycles an image>", "seed>",
               "minutes>")  # fmt: skip
    partly = [
        f"{record['result']['board']}: " + ", ".join(f"{number:,} {kind}" for kind, number in left.items())
        for record in found
        if (left := record["result"].get("untimed_cells"))
    ]
    told = f"\n\n\\* with margins for what nextpnr does not time. {'; '.join(partly)}." if partly else ""
    return table(columns, rows) + told + "\n\n" + measured(found)


def cost() -> str:
    """The cost model beside synthesis: estimated / synthesised."""
    found = records.load("cost")
    rows = []
    for row in found[0]["result"]:
        guess, real = row["estimated"], row["synthesised"]
        kind = (", shared" if row["share"] else "") + ("" if row["seen"] else ", unseen")
        cells = [f"`{row['network']}`{kind}", count(row["interval_cycles"])]
        for name in ("lut", "ff"):
            off = 100 * (guess[name] / real[name] - 1)
            cells += [f"{count(guess[name])} / {count(real[name])}", f"{off:+.1f} %"]
        rows.append(cells + [f"{guess[name]} / {real[name]}" for name in ("ebr", "dsp")])
    columns = ("network", "cycles an image>", "LUT>", "off>", "flip-flops>", "off>", "block RAM>", "multipliers>")
    return table(columns, rows) + "\n\n" + measured(found)


def overhead() -> str:
    """What lanes take and all else, of ResNet-20 W1A2 as a pipeline and with its layers in one stage, by the model."""
    found = records.load("cost")
    rows = [row for row in found[0]["result"] if row["network"] == "resnet20-w1a2"]
    rows.sort(key=lambda row: (row["share"] is None, row["lanes"]))
    designs = [f"{'shared' if row['share'] else 'pipeline'}, {count(row['lanes'])} lanes" for row in rows]
    cells = []
    for kind, blocks in KINDS.items():
        totals = [[sum(row["kinds"].get(block, {}).get(name, 0) for block in blocks) for name in ("lut", "ff")]
                  for row in rows]  # fmt: skip
        if any(map(sum, totals)):
            cells.append([kind, *(f"{count(lut)} / {count(ff)}" for lut, ff in totals)])
    for text, by in (("all", None), ("all, a lane", "lanes")):
        totals = [[row["estimated"][name] / (row[by] if by else 1) for name in ("lut", "ff")] for row in rows]
        cells.append([text, *(" / ".join(f"{n:.2f}" if by else count(round(n)) for n in some) for some in totals)])
    return table(("LUT / flip-flops", *(f"{design}>" for design in designs)), cells) + "\n\n" + measured(found)


def unit() -> str:
    """The compute unit by itself, beside others' blocks put through the same tools."""
    found = records.load("unit")
    rows = []
    for row in found[0]["result"]:
        where = {"block": "block RAM", "logic": "logic"}.get(row["storage"], row["storage"])
        slowest = min(row["mhz_by_seed"].values())
        bits = f"{row['weights']} {row['weight_bits']}-bit " if row.get("weight_bits", 1) > 1 else ""
        rows.append([
            f"{row['simd']} codes x {row['pe']} channels x {row['planes']} planes, {bits}weights in {where}",
            count(row["lanes"]), count(row["comb"]), count(row["ff"]), count(row["ebr"]),
            f"{row['comb'] / row['lanes']:.2f}", f"{row['ff'] / row['lanes']:.2f}", f"{row['mhz']:.1f} ({slowest:.1f})",
        ])  # fmt: skip
    for source, lanes, lut, ff, mhz in BLOCKS:
        shares = [f"{number / lanes:.2f}" if lanes else "-" for number in (lut, ff)]
        rows.append([source.split(", synthesised")[0], count(lanes), count(lut), count(ff), "-", *shares, str(mhz)])
    columns = ("block", "lanes>", "LUT>", "FF>", "EBR>", "LUT a lane>", "FF a lane>", "MHz (slowest seed)>")
    return table(columns, rows) + "\n\n" + measured(found)


def bits() -> str:
    """Cycles times LUT at one folding, for several W and A."""
    found = records.load("bits")
    kinds = ("lanes", "windows", "thresholds", "stream")
    rows = []
    for row in found[0]["result"]["rows"]:
        weights = f"{row['weight_bits']}{', signed' * (row.get('weights') == 'signed')}"
        cells = [weights, str(row["act_bits"]), count(row["interval_cycles"]), count(row["lut"])]
        cells += [count(row["lut_by_kind"][kind]) for kind in kinds]
        rows.append([*cells, f"{row['product'] / 1e6:,.1f} M", f"{row['per_bits']:.2f}"])
    columns = ("W", "A", "cycles>", "LUT>", "lanes>", "windows>", "thresholds>", "streams>", "cycles x LUT>",
               "over W x A>")  # fmt: skip
    return table(columns, rows) + "\n\n" + measured(found)
