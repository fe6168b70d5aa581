"""What a board says of itself, and pictures for it: lies and hostile claims are refused in a line, within bounds."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from popstream.boards.host import host
from popstream.boards.host.client import LinkError
from popstream.boards.link.protocol import SYNC, Identity, Kind, Result
from popstream.model import manifest
from tests.boards.host.scripted import IDENTITY, client, identity, reply
from tests.networks import random_network


@pytest.mark.parametrize(("change", "claim"), [
    ({"shape": (0, 0, 0)}, "an image of 0 x 0 x 0"), ({"shape": (3, 0, 8)}, "an image of 3 x 0 x 8"),
    ({"shape": (9, 999, 999)}, "an image of 9 x 999 x 999"), ({"classes": 0}, "0 classes"),
    ({"classes": 999}, "999 classes"), ({"input_bits": 0}, "0 bits a pixel"), ({"input_bits": 9}, "9 bits a pixel"),
    ({"clock_hz": 0}, "a clock of 0 Hz"), ({"interval": 0}, "an interval of 0 cycles"),
])  # fmt: skip
def test_a_claim_that_no_board_makes_is_named(change, claim):
    payload = dataclasses.replace(IDENTITY, **change).pack()
    with pytest.raises(LinkError, match=f"^The board claims {claim}; its bitstream is damaged, or not one of"):
        client(reply(Kind.IDENTITY, payload)).identify()


def test_images_of_more_than_8_bits_are_scaled(tmp_path):
    Image.fromarray((np.arange(64).reshape(8, 8) * 1028).astype(np.uint16)).save(tmp_path / "ramp.png")
    pixels, notice = host.read_image(tmp_path / "ramp.png", dataclasses.replace(IDENTITY, shape=(1, 8, 8)))
    assert notice is None
    assert pixels[0].ravel().tolist() == list(range(0, 256, 4))


def test_what_a_board_says_of_itself_must_be_true_of_the_network(tmp_path):
    network = random_network(2, classes=3)
    manifest.save(network, tmp_path)
    digest = bytes.fromhex(network.hash)[:16]
    true = dataclasses.replace(
        IDENTITY, network=digest, shape=network.input.shape, input_bits=network.entry_bits, classes=3
    )
    assert host.network_of(true, None, [tmp_path]) == network
    assert host.network_of(true, str(tmp_path)) == network
    for lie in ({"classes": 200}, {"shape": (1, 2, 2)}, {"input_bits": 1 + network.entry_bits % 8}):
        with pytest.raises(host.HostError, match=r"The board claims .* but it has .*; its bitstream is damaged"):
            host.network_of(dataclasses.replace(true, **lie), None, [tmp_path])


def test_a_board_commands_no_terminal(capsys):
    name = "\x1b[2J\r\nroot"
    said = Identity.unpack(dataclasses.replace(IDENTITY, name=name).pack())
    assert said.name == r"\x1b[2J\r\nroot"
    host.show(host.describe(said, None), False)
    assert capsys.readouterr().out.replace("\n", "").isprintable()


def test_images_that_take_no_time_are_refused():
    still = reply(Kind.RESULT, Result(0, 700, (1, 0, 0)).pack())
    with pytest.raises(LinkError, match="The board claims 0 cycles for 2 images; its bitstream is damaged"):
        client(identity, still, still).interval(4)


def test_a_frame_longer_than_any_reply_hides_no_good_one():
    def long(request):
        return SYNC + bytes([request.sequence, Kind.IDENTITY, 0xFF, 0xFF]) + identity(request)

    assert client(long).identify() == IDENTITY


def test_an_image_for_a_board_that_claims_one_long_row(tmp_path):
    Image.new("L", (4, 40_000), 7).save(tmp_path / "tall.png")  # by rows first, 2.6 billion pixels would be made
    pixels, notice = host.read_image(tmp_path / "tall.png", dataclasses.replace(IDENTITY, shape=(1, 1, 65_535)))
    assert (pixels.shape, set(np.unique(pixels))) == ((1, 1, 65_535), {7})
    assert "resized from 4x40000 to 65535x1" in notice
