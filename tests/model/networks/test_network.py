"""The door to the network families."""

import pytest
import torch

from popstream.model.networks import build_network, network_config
from popstream.model.networks.resnet import ResNet, ResNetConfig


def test_a_table_without_family_is_a_resnet():
    table = {"depth": 8, "widths": [4, 6, 8], "weight_bits": 1, "act_bits": 2, "bits": {"group1.conv0": [2, 2]}}
    torch.manual_seed(0)
    model = build_network(table)
    torch.manual_seed(0)
    same = ResNet(ResNetConfig(8, (4, 6, 8), weight_bits=1, act_bits=2, bits={"group1.conv0": (2, 2)}))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    again = build_network(model.config.to_dict())
    again.load_state_dict(model.state_dict())
    assert again.config.to_dict() == model.config.to_dict()


@pytest.mark.parametrize(("table", "message"), [
    ({"family": "vgg"}, "Network family must be one of resnet.*, not 'vgg'"),
    ({"depht": 20}, "Network family 'resnet' has no option 'depht'; it takes act_bits, "),
])  # fmt: skip
def test_wrong_tables(table, message):
    with pytest.raises(ValueError, match=message):
        network_config(table)
