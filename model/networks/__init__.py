"""The door to all network families: `build_network(config)` makes a network from the table of a recipe or checkpoint.

`config["family"]` picks the family; without it the family is "resnet", the one that export turns into hardware:

| family | networks |
|---|---|
| resnet | ResNet-20 and kin in both shortcut styles, ReAct- and BiNeal-ResNet (model/networks/resnet.py) |
| compact | og_64, og, res_512, res_512_d, resblock: under 5 million parameters (model/networks/compact.py) |
| dorefa_svhn, dorefa_alexnet | DoReFa-Net's models A to D and AlexNet (model/networks/dorefa.py) |
| reactnet | ReActNet-A on MobileNetV1 (model/networks/reactnet.py) |
"""

from dataclasses import fields
from typing import Any

from popstream.model.checked import convert
from popstream.model.networks.compact import CompactConfig, CompactResNet
from popstream.model.networks.dorefa import AlexNet, AlexNetConfig, SVHNConfig, SVHNNet
from popstream.model.networks.layers import QuantNetwork
from popstream.model.networks.reactnet import ReActNet, ReActNetConfig
from popstream.model.networks.resnet import ResNet, ResNetConfig
from popstream.model.quantizers import check_name

FAMILIES: dict[str, tuple[type, type[QuantNetwork]]] = {
    "resnet": (ResNetConfig, ResNet),
    "compact": (CompactConfig, CompactResNet),
    "dorefa_svhn": (SVHNConfig, SVHNNet),
    "dorefa_alexnet": (AlexNetConfig, AlexNet),
    "reactnet": (ReActNetConfig, ReActNet),
}
DEFAULT_FAMILY = "resnet"
HARDWARE_FAMILIES = ("resnet", "dorefa_svhn")  # those that freezing takes


def network_config(config: dict[str, Any]) -> Any:
    """The checked configuration of a table's family; lists become tuples. ValueError for an unknown family or key."""
    table = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    family = str(table.pop("family", DEFAULT_FAMILY))
    kind, _ = FAMILIES[check_name(family, FAMILIES, "Network family")]
    known = [field.name for field in fields(kind)]
    for key in table.keys() - set(known):  # which msgspec lets pass in a dataclass
        raise ValueError(f"Network family {family!r} has no option {key!r}; it takes {', '.join(sorted(known))}")
    return convert(table, kind, "network")


def phase_config(recipe: dict, phase: dict) -> Any:
    """The configuration of the network of a recipe's phase: the recipe's table, with the phase's bits."""
    return network_config(recipe["network"] | {k: phase[k] for k in ("weight_bits", "act_bits", "grad_bits")})


def build_network(config: dict[str, Any]) -> QuantNetwork:
    """The network of a configuration's table, its weights drawn from torch's generator."""
    family = config.get("family", DEFAULT_FAMILY)
    checked = network_config(config)
    return FAMILIES[family][1](checked)
