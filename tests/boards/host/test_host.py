# amaranth: UnusedElaboratable=no
"""The host program against a board in simulation, and against boards that misbehave."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from popstream.boards.bench.board_sim import terminal
from popstream.boards.bench.harness import compile_link
from popstream.boards.host import client as client_module
from popstream.boards.host import host
from popstream.boards.host.client import LinkError
from popstream.boards.link.protocol import Fault, Frame, Kind, Result, encode
from popstream.boards.link.replies import folding_hash
from popstream.cli import main
from popstream.hw.folding.folding import interval
from popstream.model import manifest
from tests.boards.host.scripted import IDENTITY, client, fault, identity, reply
from tests.boards.link_bench import ROOT, images_and_logits, payload, tiny_link


def test_a_question_is_repeated_with_a_new_number_until_it_is_answered():
    asked = client(fault(Fault.CRC), b"noise", identity)
    assert asked.identify() == IDENTITY
    first, *more = [frame.sequence for frame in asked.port.asked]
    assert more == [(first + 1) % 256, (first + 2) % 256]
    assert asked.repeats == 2


def test_the_answer_to_another_question_is_not_taken():
    other, good = Result(2, 1, (0, 0, 9)), Result(1, 5, (0, 7, 0))

    def both(request: Frame) -> bytes:
        stale = encode(Frame(Kind.RESULT, (request.sequence - 1) % 256, other.pack()))
        return stale + reply(Kind.RESULT, good.pack())(request)

    asked = client(identity, both)
    assert asked.classify(bytes(4)) == good


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([b"", b"", b""], "asked 3 times: no reply; check port, baud and bitstream"),
        ([fault(Fault.CRC)] * 3, "asked 3 times: the frame was damaged"),
        ([fault(Fault.KIND)], "The board refuses: the board does not know this request"),
        ([fault(99)] * 3, "a reply of kind 0xff, not 0x81"),
        ([reply(Kind.IDENTITY, b"\x02hort")], "An identity has 74 bytes, not 5"),
        ([reply(Kind.IDENTITY, bytes([1]) + bytes(43))], "version 1 of the protocol, this program version 2"),
    ],
)
def test_a_board_that_does_not_answer_is_an_error(answers, message):
    with pytest.raises(LinkError, match=message):
        client(*answers).identify()


def test_images_that_do_not_fit_are_not_sent():
    asked = client(identity)
    with pytest.raises(ValueError, match="An image must be 4 codes below 16"):
        asked.classify(bytes(5))
    with pytest.raises(ValueError, match="An image must be 4 codes below 16"):
        asked.classify(b"\x10\x00\x00\x00")
    with pytest.raises(ValueError, match="Count must be 1 to 255, not 256"):
        asked.selftest(256)
    assert len(asked.port.asked) == 1


def test_the_interval_leaves_out_the_latency():
    def run(request):
        return reply(Kind.RESULT, Result(0, 1000 + 150 * request.payload[0], (1, 0, 0)).pack())(request)

    assert client(identity, run, run).interval(200) == 150.0


@pytest.fixture(scope="module")
def board():
    link = tiny_link()
    with terminal(compile_link(link, ROOT, optimize=1), link) as path:
        yield link, path


@pytest.fixture
def manifest_path(board, tmp_path):
    manifest.save(board[0].network, tmp_path)
    return str(tmp_path)


def run(capsys, *given):
    status = main(["host", *(str(part) for part in given)])
    out, err = capsys.readouterr()
    return status, out, err


def test_identify(board, capsys):
    link, path = board
    status, out, _ = run(capsys, "identify", "--port", path, "--baud", 3_000_000, "--json")
    said = json.loads(out)
    assert status == 0
    assert said["hash"] == link.network.hash[:32]
    assert (said["network"], said["manifest"]) == (link.network.name, None)
    assert (said["weight_bits"], said["act_bits"]) == (1, 2)
    assert said["folding"] == folding_hash(link.folding).hex()
    assert said["lanes"] + said["multipliers"] == sum(fold.lanes for fold in link.folding.values())
    assert said["interval_estimated"] == max(interval(link.network, link.folding).values())
    assert (said["clock_mhz"], said["baud"]) == (12.0, 3_000_000)
    status, out, _ = run(capsys, "identify", "--port", path)
    assert "clock mhz" in out


def test_image_files_of_any_size_and_format(board, capsys, tmp_path, manifest_path):
    link, path = board
    images, logits = images_and_logits(link, 3)
    files = []
    for index, (image, ending) in enumerate(zip(images, ("png", "bmp", "tiff"), strict=True)):
        files.append(tmp_path / f"{index}.{ending}")
        Image.fromarray(image[0] * 17).save(files[-1])
    large, colour = tmp_path / "large.png", tmp_path / "colour.png"
    Image.fromarray(np.repeat(np.repeat(images[0][0] * 17, 8, 0), 8, 1)).save(large)
    Image.fromarray(np.repeat(images[1][0][..., None] * 17, 3, 2)).save(colour)
    given = ["classify", "--port", path, "--json", "--net", manifest_path, *files, large, colour]
    status, out, err = run(capsys, *given)
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    expected = [*logits.tolist(), logits[0].tolist(), logits[1].tolist()]
    assert [answer["logits"] for answer in answers] == expected
    assert answers[0]["class"] == f"class{answers[0]['label']}"
    assert err.splitlines() == [f"{large}: resized from 16x16 to 2x2"]
    status, out, err = run(capsys, "classify", "--port", path, files[0])
    assert (status, err) == (0, "")
    assert f"{files[0]}: {answers[0]['label']} (" in out


def test_self_test(board, capsys):
    link, path = board
    status, out, _ = run(capsys, "selftest", "--port", path, "--json", "--count", 100)
    said = json.loads(out)
    assert status == 0
    assert said["cycles_per_image"] == pytest.approx(link.identity.interval, rel=0.05)
    assert said["images_per_second"] == pytest.approx(12e6 / said["cycles_per_image"], rel=0.01)


def test_pixels_become_codes_in_the_order_of_the_link():
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 2, 2) * 20
    assert host.codes_of(pixels, 8) == payload(pixels)


def one_error(capsys, *given):
    status, out, err = run(capsys, *given)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_errors_are_one_line(board, capsys, tmp_path, monkeypatch):
    path = board[1]
    text = tmp_path / "text.png"
    text.write_text("no image")
    assert "text.png is no image that is read here" in one_error(capsys, "classify", text, "--port", path)
    assert "cannot be read (No such file" in one_error(capsys, "classify", tmp_path / "absent.png", "--port", path)
    assert "cannot be opened" in one_error(capsys, "identify", "--port", tmp_path / "tty")
    assert "Give the data set with --set" in one_error(capsys, "data", "--port", path)
    assert "Data set digits has (1, 8, 8) images, the board takes (1, 2, 2)" in one_error(
        capsys, "data", "--port", path, "--set", "digits"
    )
    other = one_error(capsys, "identify", "--port", path, "--net", "digits-w1a2")
    assert f"The board does not hold digits-w1a2 but {board[0].network.name}, hash " in other
    monkeypatch.setattr(client_module, "POLL", 0.01)
    master, slave = os.openpty()
    silent = os.ttyname(slave)
    assert "asked 3 times: no reply" in one_error(capsys, "identify", "--port", silent, "--timeout", 0.05)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    "given",
    [
        ["identfy"],
        ["identify"],
        ["identify", "--port", "x", "--baud", "3000001"],
        ["data", "--port", "x", "--images", "0"],
        ["selftest", "--port", "x", "--count", "256"],
        ["classify", "--port", "x"],
    ],
)
def test_wrong_arguments_end_with_status_2(given, capsys):
    assert main(["host", *given]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_processes_do_not_begin_with_the_same_number():
    begun = set()
    for _ in range(20):
        asked = client(identity)
        asked.identify()
        begun.add(asked.port.asked[0].sequence)
    assert len(begun) > 5
