"""The page and report.json: figures as measured, none where nothing was, every name escaped, nothing loaded."""

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from popstream.boards.bench.published import PUBLISHED
from popstream.model.manifest import ZOO, Network, load
from popstream.sim import golden
from popstream.sim.reports.page.accuracy import accuracy_figures, design_rows
from popstream.sim.reports.page.layers import layers
from popstream.sim.reports.page.page import write_report
from popstream.sim.reports.page.training import record
from popstream.sim.rtl.images import images_for
from tests.command import run_cli
from tests.networks import random_network
from tests.sim.reports.page.figures import BOARD, write_figures

VOID = {"meta", "link", "img", "br"}
EVIL = '<script>alert("1")</script>'


@pytest.fixture(scope="module")
def digits():
    return load(ZOO / "digits-w1a2")


@pytest.fixture(scope="module")
def measured(digits, tmp_path_factory):
    """The page of digits-w1a2 with all figures: content, text."""
    root = tmp_path_factory.mktemp("measured")
    write_figures(digits, root)
    content, path = write_report(digits, root, designs=PUBLISHED)
    assert json.loads((root / "digits-w1a2" / "report.json").read_text()) == content
    return content, path.read_text()


@pytest.fixture(scope="module")
def bare(digits, tmp_path_factory):
    """The same where nothing was measured."""
    content, path = write_report(digits, tmp_path_factory.mktemp("bare"), designs=PUBLISHED)
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.html", "report.json"]
    return content, path.read_text()


class Elements(HTMLParser):
    """Every element with its attributes, and all text; an AssertionError where elements do not close in order."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


def test_figures_are_those_that_were_measured(measured, digits):
    content, text = measured
    assert content["missing"] == []
    assert "Not here" not in text
    assert content["cycles"]["interval_cycles"] == 4321
    assert [row["images"] for row in content["agreement"]] == [23, 300, 40]
    assert [row["mismatches"] for row in content["agreement"]] == [0, 0, 2]
    shown = " ".join(Elements(text).text.split())
    told = ["123,457", "91.23 %", "92.34 %", "97.50", "first: node stem.conv (conv), image 3", "125.50 MHz", "29,034",
            "0 reached 59.5 MHz", "61.5 %", "4,321 cycles in steady state", "make train NET=digits-w1a2", "8.00 ns",
            "link.accelerator.stem.o__valid", "yosys 0.70", "on photographs: every value of 7 images",
            "with another folding than the one below", "with another folding than the one above"]  # fmt: skip
    for figure in told:
        assert figure in shown, figure
    assert "TRELLIS" not in shown  # what synthesis appends stands in the tooltip
    assert content["folding"]["source"] == f"the folding of the bitstream for {BOARD}"
    assert content["folding"]["interval"] == max(row["cycles"] for row in content["folding"]["rows"])
    assert content["designs"] == []  # the published designs are for another data set
    assert all(row["ours"] for row in content["accuracy"]["rows"])


def test_what_was_not_measured_is_named_with_its_command(bare):
    content, text = bare
    commands = [item["command"] for item in content["missing"]]
    assert commands == [
        "make sim NET=digits-w1a2", "make accuracy NET=digits-w1a2", "make occupancy NET=digits-w1a2",
        "make bitstream NET=digits-w1a2 BOARD=...",
    ]  # fmt: skip
    shown = Elements(text).text
    assert all(command in shown for command in commands)
    assert "with another folding" not in shown
    assert content["agreement"] == []
    assert content["board"] is content["occupancy"] is content["cycles"] is None
    assert [row["source"] for row in content["accuracy"]["rows"]] == ["manifest", "manifest"]
    assert "the default folding" in content["folding"]["source"]


def test_figures_of_another_state_or_form_are_not_taken(digits, tmp_path):
    write_figures(digits, tmp_path)
    path = tmp_path / "digits-w1a2" / "sim.json"
    path.write_text(path.read_text().replace(digits.hash, "0" * 64))
    path = tmp_path / "digits-w1a2" / "occupancy.json"
    path.write_text(path.read_text().replace("column_cycles", "columns"))
    content, _ = write_report(digits, tmp_path, board="ulx3s-85f")
    why = {item["name"]: item["why"] for item in content["missing"]}
    assert why == {
        "sim": "measured on another state of this network",
        "occupancy": "measured by another version of popstream",
        "board": "no bitstream of this network is built",
    }
    assert content["missing"][-1]["command"] == "make bitstream NET=digits-w1a2 BOARD=ulx3s-85f"
    path.write_text("{")
    before = (tmp_path / "digits-w1a2" / "report.html").read_text()
    with pytest.raises(ValueError, match=r"occupancy\.json: cannot be read .*; remove it and measure again"):
        write_report(digits, tmp_path)
    assert (tmp_path / "digits-w1a2" / "report.html").read_text() == before


@pytest.mark.parametrize("page", ["measured", "bare"])
def test_the_page_holds_all_that_it_shows(page, request):
    text = request.getfixturevalue(page)[1]
    found = Elements(text)
    for source in found.all("src"):
        assert source.startswith("data:image/png;base64,")
    for link in found.all("href"):
        assert re.match(r"#|data:,$|https://(github\.com|arxiv\.org)/", link), link
    assert not re.search(r"url\(|@import|fetch\(|XMLHttp", text)
    assert {tag for tag, _ in found.elements} & {"iframe", "object", "embed", "form"} == set()
    names = found.all("id")
    assert len(names) == len(set(names))
    assert {link[1:] for link in found.all("href") if link[0] == "#"} <= set(names)
    assert set(found.all("aria-labelledby")) <= set(names)
    assert all(attributes.get("alt") for tag, attributes in found.elements if tag == "img")
    assert all("aria-label" in a or "aria-hidden" in a for tag, a in found.elements if tag == "svg")


def test_every_name_is_escaped(tmp_path):
    plain = random_network(3, height=8, width=8, channels=(4, 6), name="evil")
    phase = {"name": EVIL, "teacher": EVIL, "epochs": EVIL, "optimizer": EVIL}
    training = {"command": EVIL, EVIL: EVIL, "recipe": {"phase": [phase], "network": {EVIL: EVIL}},
                "curve": [{"phase": EVIL, "loss": loss, "top1_train": 50, "top1_test": 40} for loss in (2, 1)],
                "last_epoch": {EVIL: EVIL}}  # fmt: skip
    classes = [EVIL, "b&amp;", '" onload="alert(1)', "{{ 7 * 7 }}"]
    network = Network.build("evil", EVIL, classes, plain.nodes, {}, training)
    write_figures(network, tmp_path)
    text = write_report(network, tmp_path)[1].read_text()
    found = Elements(text)
    assert [tag for tag, _ in found.elements].count("script") == 1  # ours
    assert EVIL not in text
    assert EVIL in found.text
    assert "{{ 7 * 7 }}" not in text.replace("&#34;", '"')  # classes are shown with images alone, of which it has none
    assert "49" not in re.findall(r">\s*(\d+)\s*<", text)
    assert not any(name.startswith("on") for _, attributes in found.elements for name in attributes)
    assert "<b>linear" not in text


def test_classes_are_escaped_beside_their_logits(digits, tmp_path):
    classes = [EVIL, *digits.classes[1:]]
    network = Network.build(digits.name, digits.data, classes, digits.nodes, digits.accuracy, {})
    content, path = write_report(network, tmp_path)
    assert any(image["label"] == EVIL for image in content["examples"]) or EVIL in Elements(path.read_text()).text
    assert EVIL not in path.read_text()
    assert "The manifest says nothing of how this network was trained." in path.read_text()


def test_images_are_the_data_sets_and_their_logits_golden(measured, digits):
    content, _ = measured
    images = images_for(digits, 50)
    told = content["examples"]
    assert [image["index"] for image in told[:3]] == [0, 1, 2]
    for image in told:
        logits = golden.run(digits, images.codes[image["index"] : image["index"] + 1])[0][0]
        assert image["logits"] == logits.tolist()
        assert image["given"] == digits.classes[int(np.argmax(logits))]
        assert image["label"] == digits.classes[int(images.labels[image["index"]])]
    wrong = np.flatnonzero(golden.labels(golden.run_batches(digits, images.codes)) != images.labels)
    assert [image["index"] for image in told[3:]] == wrong[:1].tolist()


@pytest.mark.parametrize(
    "training",
    [{}, {"recipe": 3}, {"recipe": {"phase": 7, "network": [1]}}, {"recipe": {"phase": [1, {}]}}, {"curve": [1]},
     {"curve": [{"loss": 1}] * 3}, {"last_epoch": 5, "recipe": {"augment": {"flip": None}}}],
)  # fmt: skip
def test_a_record_of_training_may_be_anything(training, tmp_path):
    given = random_network(4, channels=(4,), strides=(1,), name="odd")
    network = Network.build("odd", "none", given.classes, given.nodes, {}, training)
    text = write_report(network, tmp_path)[1].read_text()
    assert "The manifest records no accuracy." in text
    assert record(network)["curve"] is None


def test_random_weights_are_told(digits, tmp_path):
    network = Network.build("raw", "none", digits.classes, digits.nodes, digits.accuracy, {"untrained": True})
    assert "its weights are random" in write_report(network, tmp_path)[1].read_text()


def test_a_recorded_curve_is_drawn(digits, tmp_path):
    rows = [{"phase": phase, "epoch": 1, "loss": 3.5 - number, "top1_train": 40 + number, "top1_test": 30 + number}
            for number, phase in enumerate(["float", "float", "w1a2"])]  # fmt: skip
    network = Network.build("drawn", "none", digits.classes, digits.nodes, {}, {"curve": rows})
    content, path = write_report(network, tmp_path)
    assert content["training"]["curve"] == {
        "loss": [3.5, 2.5, 1.5], "top1_train": [40, 41, 42], "top1_test": [30, 31, 32], "breaks": [2],
        "phases": ["float", "w1a2"],
    }  # fmt: skip
    text = path.read_text()
    assert 'd="M0 0.00L1 50.00L2 100.00"' in text  # the loss, from the upper edge to the lower
    assert "M1.5 0V100" in text


def test_published_figures_stand_beside_ours_by_their_sources():
    network = load(ZOO / "resnet20-w1a2")
    nothing = Network.build(network.name, "cifar10", network.classes, network.nodes, network.accuracy, {})
    design = SimpleNamespace(design="FracBNN W1A1.4", device="Ultra96", images_per_s=None, top1=89.1, lut=None,
                             dsp=None, source=None)  # fmt: skip
    found = accuracy_figures(nothing, layers(nothing), None, [*PUBLISHED, design])
    tops = [row["top1"] for row in found["rows"]]
    assert tops == sorted(tops, reverse=True)
    assert found["low"] < tops[-1] < tops[0] < found["high"]
    names = [(row["what"], row["bits"]) for row in found["rows"]]
    assert len(set(names)) == len(names)
    assert [what for what, _ in names if "FracBNN" in what] == ["ResNet-20, FracBNN"]  # not told twice
    ours = sorted((network.accuracy["top1_float"], network.accuracy["top1_frozen"]), reverse=True)
    assert [row["top1"] for row in found["rows"] if row["ours"]] == ours
    assert [row["bits"] for row in found["rows"] if "DoReFa" in row["what"]] == ["W1A2", "W1A2"]
    assert {"https://github.com/htqin/IR-Net"} <= {row["source"] for row in found["rows"]}
    board = {"bench": None, "images_per_second": 8_000, "device": "LFE5U-85F", "board": "x", "lut": 5, "dsp": 6}
    ours = [row for row in design_rows(nothing, board, PUBLISHED) if row["ours"]]
    assert [(row["design"], row["images_per_s"], row["top1"]) for row in ours] == [
        (network.name, 8_000, network.accuracy["top1_frozen"])
    ]


def test_the_verb(tmp_path):
    for board in ([], [BOARD]):
        status, out, err = run_cli("report", "digits-w1a2", *board, "--root", tmp_path)
        assert (status, err) == (0, "")
        assert "(not measured yet); make sim NET=digits-w1a2" in out
        assert out.splitlines()[-1] == str(tmp_path / "digits-w1a2" / "report.html")
    assert f"resources on {BOARD}" in out
    status, out, err = run_cli("report", "digits-w1a2", "nonesuch")
    assert (status, out) == (2, "")
    assert err.startswith("error: BOARD: 'nonesuch' is no board; known are ")
