"""Verbs that write networks as QONNX files and take such files in."""

from pathlib import Path
from typing import Annotated

from popstream.cli.app import TRAIN, app
from popstream.cli.checks import at_least, check_folder, check_name
from popstream.cli.options import BUILD, Failed, Net, Seed, UsageError, option


@app.command(group=TRAIN, name="export-qonnx")
def export_qonnx(
    net: Net,
    /,
    *,
    images: Annotated[int, option("random images to compare on", at_least(1), metavar="N")] = 20,
    seed: Seed = 0,
    out: Annotated[Path | None, option("the file (build/<net>/<net>.onnx)", metavar="FILE")] = None,
) -> None:
    """Write a network as a QONNX file, and try it in qonnx's executor.

    Every node's every value is compared with golden; status 1 where one differs. import reads the file back to the same
    integers.

    Example: popstream export-qonnx digits-w1a2 --images 3
    Takes two seconds; ResNet-20 half a minute.
    """
    from popstream.model.console import plain_console
    from popstream.model.files import write_json
    from popstream.model.manifest import find, load
    from popstream.model.qonnx.back import read_back
    from popstream.model.qonnx.load import load_model
    from popstream.model.qonnx.write import write
    from popstream.sim.executed import compare_written
    from popstream.sim.golden.drawn import random_images

    network = load(find(net))
    path = write(network, out or BUILD / network.name / f"{network.name}.onnx")
    model = load_model(path)
    if read_back(model, str(path)) != network:
        raise Failed(f"{path}: reads back as another network than {network.name}")
    values = wrong = 0
    first = ""
    with plain_console().status(f"{network.name}: {images} images in qonnx's executor"):
        for part in random_images(network.input, seed, images)[:, None]:
            for compared in compare_written(network, model, part):
                values, wrong = values + compared.values, wrong + compared.mismatches
                first = first or (compared.node if compared.mismatches else "")
    content = {"network": network.name, "images": images, "seed": seed, "values": values, "mismatches": wrong}
    write_json(BUILD / network.name / "export-qonnx.json", content)
    print(f"{network.name}: {images} random images, {values:,} values of every node, {wrong:,} differ -> {path}")
    if wrong:
        raise Failed(f"{wrong:,} of {values:,} values differ from golden, first at node {first!r}")


@app.command(group=TRAIN, name="import")
def import_(
    model: Annotated[Path, option("a QONNX file, as Brevitas and QKeras write", metavar="MODEL")],
    /,
    *,
    name: Annotated[str, option("what the network is to be called", check_name, metavar="NAME")],
    data: Annotated[str, option("the data set that it is for, as cifar10 (none that is known)")] = "noise",
    raw: Annotated[bool, option("pixels enter as 0 to 255, not as 0 to 1")] = False,
    mean: Annotated[tuple[float, ...], option("taken from pixels: one, or one a channel", consume_multiple=True)] = (),
    std: Annotated[tuple[float, ...], option("what they are then divided by", consume_multiple=True)] = (),
    images: Annotated[int, option("images to compare on", at_least(1), metavar="N")] = 10,
    seed: Seed = 0,
    out: Annotated[Path | None, option("folder (build/imported/NAME)", check_folder, metavar="FOLDER")] = None,
) -> None:
    """Take in a QONNX file: exactly, or not at all.

    Says of every node what it was taken as. Then the file's own executor runs beside golden: every quantizer's codes
    must be equal, else status 1 and nothing is written. All verbs take the manifest that is.

    Example: popstream import model.onnx --name mine --data cifar10
    Takes a few seconds; a ResNet-20 a minute.
    """
    from popstream.model.console import plain_console, table_console
    from popstream.model.files import write_json
    from popstream.model.manifest import save
    from popstream.model.qonnx.take import Entry
    from popstream.sim.imported import import_file, table

    if any(not value > 0 for value in std):
        raise UsageError(f"--std must be above 0, not {min(std):g}")
    entry = Entry(raw, mean or (0.0,), std or (1.0,)) if raw or mean or std else None
    with plain_console().status(f"{model}: reading, then {images} images in qonnx's executor"):
        found = import_file(model, name, entry, data, images, seed)
    table_console(140).print(table(found))
    print(found.sentence)
    if found.mismatches:
        raise Failed(
            f"{model}: {found.mismatches:,} values of the file's executor differ, first at {found.first!r}; {found.why}"
        )
    folder = out or BUILD / "imported" / name
    save(found.network, folder)
    about = {"file": model.name, "options": entry.options if entry else "", "seed": seed}
    write_json(folder / "import.json", found.summary | about)
    print(f"-> {folder}  (NET={folder})")
