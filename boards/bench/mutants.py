"""`popstream mutate NET`: faults in the synthesised netlist, one at a time; the comparison with golden notices them.

Yosys draws the faults (`mutate`: a pin of a cell stuck, inverted, or inverted where another bit is 1) evenly over the
netlist and plants them all, each behind its number. So one model is compiled, and a run chooses its fault by
+mutant=NUMBER; 0 is the netlist as it was. A fault is noticed where a value differs from golden's or the accelerator
hangs. What no step of STEPS notices is a survivor: the fault changes nothing that can happen, only the timing, or the
comparison has a gap; docs/mutation.md tells of each.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from popstream.boards.bench.netlist import SYNTHESISED, Netlist, netlist_verilog
from popstream.boards.flow.toolchain import run
from popstream.model.files import write_json
from popstream.model.manifest import Network
from popstream.sim.bench.run import POLL, SimulationError, stop
from popstream.sim.golden.drawn import close_images

__all__ = ["IMAGES", "STEPS", "Mutant", "MutantError", "Mutants", "Verdict", "figures", "plant", "table"]

LIST, PLANTED, KEPT, SELECTOR = "mutants.ys", "mutants.json", "verdicts.json", "mutant"
CLOSE = 40  # images whose class hangs by little, of so many random ones:
CLOSE_AMONG = 4000
LOOPS = "// verilator lint_off UNOPTFLAT\n"  # a fault that is inverted by another bit may close a loop
LONGEST = 80  # letters of a cell's name: yosys names a cell of a carry chain by all those before it
PATIENCE = 5  # intervals without a beat, longer than a pause can be, that make a hang
SLOWER = 1.01  # an interval so much longer is told of a survivor
FIELD = re.compile(r"-(mode|cell|port|portbit|ctrlbit) (\S+)")


class Step(NamedTuple):
    """A run: so many images, the probability of pauses, and whether the class of the images hangs by little."""

    images: int
    stall: float
    close: bool = False


STEPS = (Step(2, 0.0), Step(8, 0.3), Step(20, 0.6), Step(CLOSE, 0.3, close=True))  # the next where one notices nothing
IMAGES = max(step.images for step in STEPS if not step.close)


class MutantError(RuntimeError):
    """The netlist has no such faults, or the one without a fault is not golden."""


@dataclass(frozen=True)
class Mutant:
    """A fault: `mode` at bit `bit` of port `port` of cell `cell`; `control` is the bit that must be 1, if any."""

    number: int
    mode: str
    cell: str
    port: str
    bit: int
    control: int | None

    def __str__(self) -> str:
        cell = self.cell if len(self.cell) <= LONGEST else f"{self.cell[: LONGEST // 2]}...{self.cell[-LONGEST // 2 :]}"
        where = f"{self.port}[{self.bit}] of {cell}"
        return f"{self.mode} at {where}" + ("" if self.control is None else f", by bit {self.control}")


@dataclass(frozen=True)
class Verdict:
    """What noticed a mutant, in words; None of a survivor. `steps` were taken; `slower`: times the right interval."""

    mutant: Mutant
    noticed: str | None
    steps: int
    slower: float | None


def plant(folder: Path, count: int, seed: int) -> list[Mutant]:
    """Plant `count` faults drawn by `seed` into the netlist in `folder` (synth.json); written to mutants.json there."""
    cells = len(json.loads((folder / SYNTHESISED).read_text())["modules"]["top"]["cells"])
    if count > cells:  # yosys would draw for hours
        raise MutantError(f"A netlist of {cells:,} cells takes as many faults, not {count:,}; ask for fewer")
    width = count.bit_length()
    draw = f"mutate -list {count} -seed {seed} -ctrl {SELECTOR} {width} 1 -o {LIST}"
    script = f"read_json {SYNTHESISED}; {draw}; script {LIST}; write_json {PLANTED}"
    run("yosys", ["-q", "-l", "mutants.log", "-p", script], folder, "mutants.log")
    found = []
    for number, line in enumerate((folder / LIST).read_text().splitlines(), 1):
        fields = dict(FIELD.findall(line))
        control = fields.get("ctrlbit")
        found.append(
            Mutant(
                number, fields["mode"], fields["cell"], fields["port"], int(fields["portbit"]),
                None if control is None else int(control),
            )
        )  # fmt: skip
    return found


def chosen_by_plusarg(text: str) -> str:
    """Verilog whose input `mutant` is a register that +mutant=NUMBER sets, 0 without it."""
    text, ports = re.subn(rf"\b{SELECTOR}\b, |, {SELECTOR}\b(?=\))", "", text, count=1)
    declared = rf"  input \[(\d+):0\] {SELECTOR};\n  wire \[\d+:0\] {SELECTOR};\n"
    register = (
        rf"  reg [\1:0] {SELECTOR} = 0;\n"
        rf'  initial if (!$value$plusargs("{SELECTOR}=%d", {SELECTOR})) {SELECTOR} = 0;\n'
    )
    text, inputs = re.subn(declared, register, text, count=1)
    if (ports, inputs) != (1, 1):
        raise MutantError(f"The netlist's Verilog has no input {SELECTOR} to choose a fault by")
    return text


class Mutants(Netlist):
    """The netlist with its planted faults, verilated.

    network : whose values are golden. folder : of the netlist, as map_network and plant left it. codes : images uint8
    [N, C, H, W] to choose from. optimize : the C++ compiler's level. root : folder of everything compiled.
    """

    def __init__(
        self, network: Network, folder: Path, codes: np.ndarray, optimize: int = 1, root: Path = Path("build")
    ):
        super().__init__(network, folder, optimize, root)
        self.codes, self.folder = codes, folder
        noticed, self.interval = self.notice(0, STEPS[0])
        if noticed:
            raise MutantError(f"The netlist without a fault differs from golden: {noticed}")

    def verilog(self, folder: Path) -> str:
        """The netlist with every fault, and a register that chooses one."""
        return LOOPS + chosen_by_plusarg(netlist_verilog(folder, PLANTED))

    @cached_property
    def close(self) -> np.ndarray:
        """Images uint8 [CLOSE, C, H, W] whose class hangs by little."""
        return close_images(self.network, 0, CLOSE, CLOSE_AMONG)

    def notice(self, number: int, step: Step) -> tuple[str | None, float | None]:
        """What the comparison says against the netlist with fault `number`, if anything, and its interval in cycles."""
        options = {"patience": int(PATIENCE * self.expected), "plusargs": [f"+{SELECTOR}={number}"]}
        try:
            codes = self.close if step.close else self.codes
            result, report = self.run(codes[: step.images], step.stall, **options)
        except SimulationError as error:
            return str(error), None
        if report.good:
            return None, result.interval
        return str(report.divergence or f"{report.mismatches} of {report.images} images differ"), result.interval

    def verdict(self, mutant: Mutant) -> Verdict:
        """Take the steps until one notices the mutant."""
        slower = None
        for taken, step in enumerate(STEPS, 1):
            noticed, interval = self.notice(mutant.number, step)
            if noticed:
                return Verdict(mutant, noticed, taken, None)
            if step.stall == 0 and interval and self.interval and interval > SLOWER * self.interval:
                slower = interval / self.interval
        return Verdict(mutant, None, len(STEPS), slower)

    def verdicts(
        self, mutants: Sequence[Mutant], processes: int, done: Callable[[Verdict], None] = lambda verdict: None
    ) -> list[Verdict]:
        """All verdicts in order, `processes` at once; `done` is called with each as it comes.

        They are kept in verdicts.json in the netlist's folder, from which the same faults in the same netlist go on.
        """
        known = self.kept(mutants)
        found = {verdict.mutant.number: verdict for verdict in known}
        with ThreadPoolExecutor(processes) as pool:
            waiting = [pool.submit(self.verdict, mutant) for mutant in mutants if mutant.number not in found]
            try:
                for future in as_completed(waiting):
                    verdict = future.result()
                    found[verdict.mutant.number] = verdict
                    write_json(self.folder / KEPT, {"key": self.key(mutants), "verdicts": rows(found.values())})
                    done(verdict)
            except BaseException:
                for future in waiting:
                    future.cancel()
                while wait(waiting, timeout=POLL).not_done:
                    stop()
                raise
        return [found[mutant.number] for mutant in mutants]

    def key(self, mutants: Sequence[Mutant]) -> str:
        """What the verdicts rest on: the compiled netlist, its faults and the steps."""
        return f"{self.model.name} {[str(mutant) for mutant in mutants]} {STEPS}"

    def kept(self, mutants: Sequence[Mutant]) -> list[Verdict]:
        """The verdicts of an earlier run that was stopped; none where it was of another netlist, or is damaged."""
        try:
            content = json.loads((self.folder / KEPT).read_text())
            if content["key"] != self.key(mutants):
                return []
            return [Verdict(mutants[number - 1], *rest) for number, *rest in content["verdicts"]]
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return []


def rows(verdicts: Iterable[Verdict]) -> list[list[Any]]:
    """Verdicts as they are kept."""
    return [[verdict.mutant.number, verdict.noticed, verdict.steps, verdict.slower] for verdict in verdicts]


def figures(network: Network, verdicts: Sequence[Verdict], seed: int, seconds: float) -> dict[str, Any]:
    """The content of mutate.json."""
    survivors = [verdict for verdict in verdicts if verdict.noticed is None]
    hung = sum(bool(verdict.noticed and "hangs" in verdict.noticed) for verdict in verdicts)
    return {
        "network": network.name, "network_hash": network.hash, "mutants": len(verdicts), "seed": seed,
        "noticed": len(verdicts) - len(survivors), "hung": hung,
        "by_step": [sum(bool(v.noticed) and v.steps == step for v in verdicts) for step in range(1, len(STEPS) + 1)],
        "steps": [step._asdict() for step in STEPS],
        "survivors": [{"mutant": str(verdict.mutant), "number": verdict.mutant.number, "cell": verdict.mutant.cell,
                       "slower": verdict.slower and round(verdict.slower, 3)} for verdict in survivors],
        "minutes": round(seconds / 60, 2),
    }  # fmt: skip


def table(content: dict[str, Any]) -> Table:
    """The survivors, or that there are none."""
    title = f"{content['network']}: {content['noticed']} of {content['mutants']} faults noticed, the rest"
    shown = Table(title=title)
    shown.add_column("fault", overflow="fold")
    shown.add_column("interval", justify="right")
    for row in content["survivors"]:
        shown.add_row(row["mutant"], f"x {row['slower']}" if row["slower"] else "the same")
    return shown
