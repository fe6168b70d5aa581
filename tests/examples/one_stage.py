# amaranth: UnusedElaboratable=no
"""All networks of the zoo, and SVHN models A to D with random weights, in one shared stage: golden's values in RTL.

    python -m tests.examples.one_stage [NET ...]        # build/one-stage.json

All convs behind the first are in the stage. SVHN's data set is not asked for: clips are calibrated on CIFAR-10. A
quarter of an hour on a quiet core.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from popstream.hw.folding.folding import Folding, interval
from popstream.hw.solver.shared import around, offers
from popstream.model.files import write_json
from popstream.model.manifest import Network, load, zoo
from popstream.model.training.recipe import load_recipe
from popstream.model.training.untrained import untrained
from popstream.soak.networks import check, lay
from tests.networks import random_images

MODELS, SVHN = "ABCD", Path("model/recipes/svhn-d-w1a2.toml")
LANES, IMAGES = 1536, 2
PLENTY = dict.fromkeys(("lut", "dsp"), 1 << 30)


def svhn(model: str) -> Network:
    """A model of DoReFa-Net's with its initial weights."""
    recipe = load_recipe(SVHN)
    shape = recipe["network"] | {"model": model}
    last = recipe["phase"][-1]
    bits = {key: last[key] for key in ("weight_bits", "act_bits")}
    return untrained(f"svhn-{model.lower()}", recipe | {"data": "cifar10", "network": shape}, bits)


def networks(names: list[str]) -> Iterator[Network]:
    for path in zoo():
        if not names or path.name in names:
            yield load(path)
    for model in MODELS:
        if not names or f"svhn-{model.lower()}" in names:
            yield svhn(model)


def in_one(network: Network) -> Folding:
    """The fastest stage of at most LANES lanes, and the cheapest layers around it that do not hold it up."""
    plan = next(plan for plan in offers(network, PLENTY) if plan.share.lanes(plan.kernel) <= LANES)
    folding = around(network, [plan.share], plan.least)
    assert folding is not None
    return folding


def main(names: list[str]) -> int:
    results = []
    for network in networks(names):
        folding, began = in_one(network), time.time()
        (share,) = folding.shared
        print(f"{network.name}: {len(share.layers)} convs in one stage, {max(interval(network, folding).values()):,} "
              f"cycles an image by estimate ...", flush=True)  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            images = random_images(network.input, 1, IMAGES)
            place = lay(Path(folder) / "case", network, folding, images, 0.1, 0.1, 7, 1)
            (verdict,) = check([place], Path(folder))
        assert verdict.said is None, verdict.said
        counts = verdict.counts
        results.append({"network": network.name, "layers": len(share.layers), **counts,
                        "seconds": round(time.time() - began), "folding": folding.to_dict()})  # fmt: skip
        print(f"  {counts['values']:,} values of {counts['images']} images, every one golden's", flush=True)
    write_json(Path("build/one-stage.json"), results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
