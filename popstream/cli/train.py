"""Verbs that train networks, and write down what was trained."""

from pathlib import Path
from typing import Annotated, Any, Literal

from popstream.cli.app import TRAIN, app
from popstream.cli.checks import at_least, between, check_file, check_name, recipes, sweeps
from popstream.cli.options import (
    BUILD,
    Failed,
    Folding,
    Interval,
    Name,
    Net,
    Out,
    Recipe,
    Root,
    Sweep,
    UsageError,
    option,
)

Device = Annotated[str | None, option("of torch, such as cpu or cuda (cuda where there is one)", metavar="DEVICE")]
Threads = Annotated[int, option("threads of the processor; 0: as many as torch likes", at_least(0), metavar="N")]
Compile = Annotated[bool, option("fuse elementwise operations by torch.compile")]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16", "float32-nchw", "bfloat16-nchw"],
    option("numbers and memory layout; auto: the fastest here, by a short trial", show_choices=False, metavar="KIND"),
]
Bits = Annotated[int | None, option("instead of the last phase's, 1 to 32", between(1, 32), metavar="BITS")]


def toml(name: str, folder: Path) -> Path:
    """The file that a name, or a path, stands for."""
    return Path(name) if name.endswith(".toml") else folder / f"{name}.toml"


def torch_device(name: str | None, threads: int = 0) -> Any:
    """torch's device, tried; UsageError if there is none of this name."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device must be one that torch has here, such as cpu, not {name!r} ({reason})") from None
    return device


@app.command(group=TRAIN)
def train(
    net: Recipe,
    /,
    *,
    out: Out = None,
    seed: Annotated[
        int | None, option("in place of the recipe's; goes to <out>/seed<N>", at_least(0), metavar="N")
    ] = None,
    precision: Precision = "auto",
    device: Device = None,
    threads: Threads = 0,
    compile: Compile = False,
) -> None:
    """Train a network by its recipe; the same command resumes.

    Writes checkpoints and curves.png into build/<net>/train, once an epoch.

    Example: popstream train digits-w1a2
    Takes two seconds an epoch, of resnet20-w1a2 two minutes of one core.
    """
    from popstream.model.training.train import train as run

    run(toml(net, recipes()), out, torch_device(device, threads), seed, compile, precision, net)


@app.command(group=TRAIN)
def sweep(
    spec: Sweep,
    /,
    *,
    out: Out = None,
    jobs: Annotated[int | None, option("cores of this machine to use (all)", at_least(1), metavar="N")] = None,
    precision: Precision = "auto",
    compile: Compile = False,
    keep: Annotated[Path | None, option("copy every epoch's state there; goes on from it", metavar="FOLDER")] = None,
    status: Annotated[bool, option("only tell how far it is and how long the rest takes")] = False,
) -> None:
    """Train the runs of a sweep on Ray, several at once.

    Here, or on the cluster that RAY_ADDRESS names; the same command resumes, or goes on from a copy in --keep or
    model/underway. Writes build/sweeps/<spec>/runs.json.

    Example: popstream sweep seeds-cpu
    Takes two hours of one core.
    """
    from popstream.model.sweeping.spec import load_spec

    found = load_spec(toml(spec, sweeps()))
    folder = (out or BUILD / "sweeps" / found.name).resolve()
    if status:
        print_status(found, folder)
        return
    from popstream.model.sweeping.sweep import run_sweep

    rows = run_sweep(found, folder, jobs, compile, precision, keep)
    failed = [row["run"] for row in rows if "error" in row]
    print(f"{folder / 'runs.json'}: {len(rows) - len(failed)} runs done, {len(failed)} failed")
    if failed:
        raise Failed(f"failed: {', '.join(failed)}; the same command tries them again")


def print_status(spec: Any, folder: Path) -> None:
    """A sweep's runs as a table, and a line on the whole."""
    import datetime

    from popstream.model.console import plain_console
    from popstream.model.sweeping.status import progress, table

    shown, told = table(spec, progress(spec, folder), datetime.datetime.now())
    plain_console().print(shown)
    print(told)


@app.command(group=TRAIN)
def tables(
    spec: Annotated[str, option("the name of a sweep that was run", check_name)] = "seeds",
    /,
    *,
    out: Out = None,
    interval: Interval = None,
) -> None:
    """Put a sweep's results beside the published ones.

    Tables, heat maps, curves, accuracy against LUTs, in build/sweeps/<spec>/tables; LUTs are estimated for --interval
    cycles an image (20,000).

    Example: popstream tables seeds-cpu
    Takes a second a network, of ResNet-20 three.
    """
    from popstream.hw.folding.folding import DEFAULT_INTERVAL
    from popstream.sim.reports.sweep import write_all

    written = write_all(out or BUILD / "sweeps" / spec, interval or DEFAULT_INTERVAL)
    print(written[0].read_text(), end="")
    print("\n".join(str(path) for path in written))


@app.command(group=TRAIN)
def speed(
    net: Recipe,
    /,
    *,
    phases: Annotated[
        tuple[str, ...], option("phases to measure (the first and the last)", consume_multiple=True)
    ] = (),
    steps: Annotated[int, option("batches a turn", at_least(1), metavar="N")] = 6,
    turns: Annotated[int, option("turns, of which the median counts", at_least(1), metavar="N")] = 3,
    precision: Precision = "auto",
    device: Device = None,
    threads: Threads = 0,
    compile: Compile = False,
    against: Annotated[str | None, option("a commit to measure beside this version, on a CPU", metavar="REF")] = None,
) -> None:
    """Measure images/s of training beside a plain PyTorch loop.

    Writes build/<net>/speed.json.

    Example: popstream speed digits-w1a2 --threads 1
    Takes four seconds.
    """
    from popstream.model.console import plain_console
    from popstream.model.files import write_json
    from popstream.model.training.speed import report, table

    if against:
        from popstream.model.training import against as other

        found = other.compare(toml(net, recipes()), against, phases, steps, turns, threads)
        write_json(BUILD / found["network"] / "speed-against.json", found)
        plain_console().print(other.table(found))
        return
    chosen = torch_device(device, threads)
    content = report(toml(net, recipes()), chosen, phases, steps, turns, compile, precision)
    plain_console().print(table(content))


@app.command(group=TRAIN)
def export(
    net: Name,
    /,
    *,
    checkpoint: Annotated[
        Path | None, option("a finished training (build/<net>/train/final.pt)", check_file, metavar="FILE")
    ] = None,
    out: Out = None,
    root: Root = BUILD,
) -> None:
    """Freeze a trained network and pack its ROM image.

    Its integers are tried on every test image. Writes the manifest into model/zoo/<net>, or --out, and the image into
    build/<net>.

    Example: popstream export digits-w1a2
    Takes five seconds.
    """
    from popstream.model.freezing.export import export as freeze
    from popstream.model.manifest import ZOO
    from popstream.model.rom import image

    network = freeze(net, checkpoint or BUILD / net / "train" / "final.pt", out or ZOO / net)
    weights = sum(node.tensors["weight"].size for node in network.nodes if "weight" in node.tensors)
    accuracy = network.accuracy
    print(
        f"{net}: {len(network.nodes)} nodes, {weights:,} weights, top-1 of {accuracy['images']:,} test images: "
        f"float {accuracy['top1_float']:.2f} %, frozen {accuracy['top1_frozen']:.2f} %"
    )
    image.print_table(network, image.build(network, root / network.name), root / network.name)


@app.command(group=TRAIN)
def rom(
    net: Net,
    /,
    *,
    folding: Folding = None,
    check: Annotated[
        Path | None, option("check a .bin or .mem against NET instead", check_file, metavar="FILE")
    ] = None,
    root: Root = BUILD,
) -> None:
    """Pack a network's tensors into a ROM image, and read it back.

    Writes rom.bin (flash), rom.mem ($readmemh) and rom.json into build/<net>; --folding sets the order of the weights.

    Example: popstream rom digits-w1a2
    Takes less than a second.
    """
    from popstream.model.manifest import find, load
    from popstream.model.rom import files, image

    network = load(find(net))
    if check:
        image.verify(image.read(check), network, str(check))
        print(f"{check}: whole, and every tensor is that of {network.name}")
        return
    found = image.build(network, root / network.name, files.read_folding(folding) if folding else None)
    image.print_table(network, found, root / network.name)


@app.command(group=TRAIN)
def untrained(
    net: Recipe,
    /,
    *,
    weight_bits: Bits = None,
    act_bits: Bits = None,
    name: Annotated[
        str | None, option("of the network (<first word>-w<W>a<A>-untrained)", check_name, metavar="NAME")
    ] = None,
) -> None:
    """Make an untrained network of a recipe's shape, to size hardware.

    Writes build/untrained/<name>, a manifest like any other.

    Example: popstream untrained resnet20-w1a2 --weight-bits 2 --act-bits 4
    Takes six seconds.
    """
    from popstream.model.training.untrained import make

    folder = make(toml(net, recipes()), weight_bits, act_bits, name)
    print(f"-> {folder}  (untrained: for resources and cycles only; NET={folder})")
