# amaranth: UnusedElaboratable=no
"""What a link can be made for: its memory of replies, its gap and baud, and the size of images."""

import numpy as np
import pytest

from popstream.boards.link.link import HostLink
from popstream.boards.link.protocol import Identity
from popstream.boards.link.replies import layout
from popstream.hw.solver.solve import solve
from tests.networks import random_network


def test_memory_holds_every_reply_apart():
    for channels, size, classes in ((1, 1, 1), (1, 8, 10), (3, 32, 10), (3, 16, 256)):
        identity = Identity(1, 1, 8, classes, (channels, size, size), 1, 1, 1, 1, 1, b"", b"", "")
        memory = layout(identity)
        assert memory.size <= memory.result
        assert memory.result % memory.region == 0
        assert memory.region >= 8 + 4 * classes
        assert memory.result + 8 + 4 * classes <= memory.error
        assert memory.error % 32 == 0
        assert max(memory.words) < 512


def test_limits_are_checked():
    network = random_network(3, in_channels=1, height=2, width=2, channels=(2,), strides=(1,))
    folding = solve(network, 1000)
    with pytest.raises(ValueError, match=r"gap must be 80 \(20 bits\) to 2147483647 clocks, not 79"):
        HostLink(network, folding, 12e6, 3e6, 79)
    with pytest.raises(ValueError, match="at least 4 clocks"):
        HostLink(network, folding, 11e6, 3e6)
    with pytest.raises(ValueError, match="at most 65,535 values for the link, not 65,536"):
        layout(Identity(1, 1, 8, 2, (1, 256, 256), 1, 1, 1, 1, 1, b"", b"", ""))
    assert np.isclose(HostLink(network, folding, 12e6, 3e6).gap_bit, 20)
