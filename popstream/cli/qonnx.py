"""Verbs that write networks as QONNX files and take such files in."""

from pathlib import Path
from typing import Annotated

from popstream.cli.app import TRAIN, app
from popstream.cli.checks import at_least
from popstream.cli.options import BUILD, Failed, Net, Seed, option


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
