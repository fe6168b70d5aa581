"""Every way in which a manifest can be wrong is refused with one line that names the file, the node and the tensor.

Faults of the tensors' contents: test_manifest_tensors.py.
"""

import re
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from popstream.model import checked
from popstream.model.manifest import ManifestError, Network, Node, files
from tests.model.damage import edit, entry, refused


def test_missing_file(tmp_path: Path):
    assert "no such file" in refused(tmp_path / "network.json")


def test_missing_tensor_file(folder: Path):
    (folder / "network.safetensors").unlink()
    assert f"network.safetensors: no such file; {folder / 'network.json'} names it" in refused(folder)


TEXTS = ["", "weights", "{", "[1, 2", '{"a": 1, "a": 2}', "\xff\xfe", "[" * 100_000]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_not_json(folder: Path, text: str):
    (folder / "network.json").write_bytes(text.encode("latin-1"))
    assert "network.json: not valid JSON, or cut short" in refused(folder)


def test_truncated_json(folder: Path):
    text = (folder / "network.json").read_text()
    for length in range(1, len(text) - 1, len(text) // 20):
        (folder / "network.json").write_text(text[:length])
        assert "network.json: not valid JSON, or cut short" in refused(folder)


def test_truncated_tensors(folder: Path):
    data = (folder / "network.safetensors").read_bytes()
    for length in range(0, len(data), len(data) // 20):
        (folder / "network.safetensors").write_bytes(data[:length])
        assert "network.safetensors: damaged or cut short" in refused(folder)


def test_every_flipped_byte_of_the_tensors_is_found(saved: Path, tmp_path: Path):
    shutil.copytree(saved, tmp_path / "net")
    data = bytearray((saved / "network.safetensors").read_bytes())
    for place in range(0, len(data), max(1, len(data) // 200)):
        data[place] ^= 4
        (tmp_path / "net" / "network.safetensors").write_bytes(data)
        assert "network.safetensors: damaged" in refused(tmp_path / "net")
        data[place] ^= 4


def set_key(key: str, value) -> Callable:
    return lambda content: content.update({key: value})


def set_in(name: str, key: str, value) -> Callable:
    return lambda content: entry(content, name).update({key: value})


def drop_in(name: str, key: str) -> Callable:
    return lambda content: entry(content, name).pop(key)


def add_node(name: str, op: str, inputs: list[str], tensors: dict | None = None, **attributes) -> Callable:
    node = dict(name=name, op=op, inputs=inputs, **attributes, tensors=tensors or {})
    return lambda content: content["nodes"].append(node)


CONV, REQUANT, THRESHOLD = "group0.conv0.conv", "group0.conv0.requant", "group0.conv0.threshold"

JSON_FAULTS = {
    "array": (lambda c: c.clear(), "the manifest lacks 'schema'"),
    "schema": (set_key("schema", 2), "schema must be 1, not 2"),
    "schema bool": (set_key("schema", True), "schema must be 1, not True"),
    "no name": (lambda c: c.pop("name"), "the manifest lacks 'name'"),
    "unknown key": (
        set_key("version", 1),
        "the manifest has an unknown option 'version'; it takes accuracy, ",
    ),
    "nodes type": (set_key("nodes", {}), "nodes must be a list, each a table, not {}"),
    "name": (set_key("name", "../x"), "name must be letters, digits, '_', '.' or '-', not '../x'"),
    "data": (set_key("data", ""), "data must name a data set, not ''"),
    "tensors path": (
        set_key("tensors", "../x"),
        "tensors must be a file name beside it of letters, digits, '_.-', not '../x'",
    ),
    "no digest": (lambda c: c.pop("sha256"), "the manifest lacks 'sha256'"),
    "digest": (set_key("sha256", "ab"), "sha256 must be 64 hexadecimal digits, not 'ab'"),
    "digest type": (set_key("sha256", None), "sha256 must be 64 hexadecimal digits, not None"),
    "class type": (set_key("classes", [1]), "classes[0] must be text, not 1"),
    "training": (set_key("training", []), "training must be a table, not []"),
    "classes count": (set_key("classes", ["a"]), "node 'linear': out_features is 4, but classes are 1"),
    "classes": (set_key("classes", ["a", "a", "b", "c"]), "classes must be distinct names"),
    "accuracy key": (set_key("accuracy", {"top5": 1}), "unknown accuracy 'top5'"),
    "accuracy": (set_key("accuracy", {"top1_float": 120}), "accuracy 'top1_float' must be 0 to 100 percent or null"),
    "images": (set_key("accuracy", {"images": 1.5}), "accuracy 'images' must be a count, not 1.5"),
    "node type": (lambda c: c["nodes"].append(7), "nodes[18] must be a table, not 7"),
    "node without op": (drop_in(CONV, "op"), f"node '{CONV}': it lacks 'op'"),
    "node without name": (drop_in(CONV, "name"), "node 4: it lacks 'name'"),
    "node name": (set_in(CONV, "name", "a b"), "node 'a b': a name must be a letter, then at most 99 letters, digits"),
    "input type": (set_in(CONV, "inputs", [3]), f"node '{CONV}': inputs[0] must be text, not 3"),
    "unknown op": (set_in(CONV, "op", "relu"), f"node '{CONV}': unknown op 'relu'; known are input, conv"),
    "unknown attribute": (set_in(CONV, "groups", 2), f"node '{CONV}': unknown attribute 'groups'; conv has out_ch"),
    "missing attribute": (drop_in(CONV, "stride"), f"node '{CONV}': attribute 'stride' is missing"),
    "W=0": (set_in(CONV, "weight_bits", 0), f"node '{CONV}': attribute 'weight_bits' must be an integer 1 to 8, not 0"),
    "W=9": (set_in(CONV, "weight_bits", 9), "attribute 'weight_bits' must be an integer 1 to 8, not 9"),
    "A=9": (set_in(CONV, "act_bits", 9), "attribute 'act_bits' must be an integer 1 to 8, not 9"),
    "W float": (set_in(CONV, "weight_bits", 1.0), "attribute 'weight_bits' must be an integer 1 to 8, not 1.0"),
    "W bool": (set_in(CONV, "weight_bits", True), "attribute 'weight_bits' must be an integer 1 to 8, not True"),
    "weights": (set_in(CONV, "weights", "even"), "attribute 'weights' must be one of 'odd', 'signed', not 'even'"),
    "weights of a pool": (set_in("pool", "weights", "odd"), "node 'pool': unknown attribute 'weights'; pool has bits"),
    "weights null": (set_in("linear", "weights", None), "attribute 'weights' must be one of 'odd', 'signed', not None"),
    "stride": (set_in(CONV, "stride", 3), "attribute 'stride' must be one of 1, 2, not 3"),
    "even kernel": (set_in(CONV, "kernel", 2), "attribute 'kernel' must be an integer 1 to 31 in steps of 2, not 2"),
    "padding": (set_in(CONV, "padding", 3), "attribute 'padding' must be 0 to kernel - 1 = 2, not 3"),
    "kernel too large": (
        lambda c: (set_in("input", "height", 1)(c), set_in("stem.conv", "padding", 0)(c)),
        "node 'stem.conv': a kernel of 3 does not fit into 1 x 8 pixels padded by 0",
    ),
    "act_bits": (
        set_in(CONV, "act_bits", 3),
        f"node '{CONV}': attribute 'act_bits' is 3, but '{THRESHOLD}' gives 2 bits",
    ),
    "shift": (set_in(REQUANT, "shift", 0), "attribute 'shift' must be an integer 1 to 31, not 0"),
    "R": (set_in(REQUANT, "stream_bits", 17), "attribute 'stream_bits' must be an integer 2 to 16, not 17"),
    "R of the skip": (
        set_in(REQUANT, "stream_bits", 10),
        f"node '{REQUANT}': attribute 'stream_bits' is 10, but 'stem.requant' gives 12 bits",
    ),
    "f of the skip": (
        set_in(REQUANT, "fraction_bits", 5),
        f"node '{REQUANT}': attribute 'fraction_bits' is 5, but the skip has 8",
    ),
    "relu": (set_in(REQUANT, "relu", 1), "attribute 'relu' must be one of False, True, not 1"),
    "reduce": (
        set_in("group1.conv0.shortcut", "reduce", "max"),
        "attribute 'reduce' must be one of 'sample', 'average', not 'max'",
    ),
    "pad_front": (
        set_in("group1.conv0.shortcut", "pad_front", 3),
        "node 'group1.conv0.shortcut': pad_front 3 + 4 input channels exceed out_channels 6",
    ),
    "odd average": (
        set_in("input", "height", 7),
        "node 'group1.conv0.shortcut': reduce 'average' takes an even height and width, not 7 x 8",
    ),
    "shapes to add": (
        set_in("group1.conv0.shortcut", "stride", 1),
        "node 'group1.conv0.requant': shapes to add must be equal, but 'group1.conv0.conv' gives [6, 4, 4]",
    ),
    "duplicate name": (
        set_in("stem.requant", "name", "stem.conv"),
        "node 'stem.conv': the name is taken by node 'stem.conv'",
    ),
    "duplicate port": (
        set_in("stem.requant", "name", "stem_conv"),
        "node 'stem_conv': the name is taken by node 'stem.conv'",
    ),
    "unknown input": (set_in(CONV, "inputs", ["x"]), f"node '{CONV}': unknown input 'x'"),
    "number of inputs": (set_in(CONV, "inputs", []), f"node '{CONV}': conv takes 1 inputs, not 0"),
    "three inputs": (
        set_in(REQUANT, "inputs", [CONV] * 3),
        f"node '{REQUANT}': requant takes 1 or 2 inputs, not 3",
    ),
    "cycle": (set_in("stem.conv", "inputs", [THRESHOLD]), "lies on a cycle, "),
    "self loop": (set_in(CONV, "inputs", [CONV]), f"node '{CONV}': lies on a cycle, {CONV} -> {CONV}"),
    "kind of conv input": (
        set_in(CONV, "inputs", ["stem.requant"]),
        f"node '{CONV}': conv takes codes here, but 'stem.requant' gives stream",
    ),
    "kind of threshold input": (
        set_in(THRESHOLD, "inputs", ["input"]),
        f"node '{THRESHOLD}': threshold takes acc or stream here, but 'input' gives codes",
    ),
    "kind of skip": (
        set_in(REQUANT, "inputs", [CONV, THRESHOLD]),
        f"node '{REQUANT}': requant takes stream here, but '{THRESHOLD}' gives codes",
    ),
    "linear on pixels": (
        lambda c: (set_in("linear", "inputs", [THRESHOLD])(c), set_in("linear", "act_bits", 2)(c)),
        f"node 'linear': linear takes 1 x 1 pixels, but '{THRESHOLD}' gives 8 x 8",
    ),
    "two inputs": (
        add_node("other", "input", [], channels=1, height=1, width=1, bits=1),
        "a network has exactly one input, not 2 (input, other)",
    ),
    "no input": (lambda c: c["nodes"].clear(), "a network has exactly one input, not 0"),
    "no sink": (
        lambda c: c["nodes"].pop(),
        "a network has exactly one sink (a linear node), not 0",
    ),
    "dead end": (
        add_node("other", "pool", ["stem.requant"], bits=2, shift=0),
        "node 'other': its output is read by no node; every node must reach the sink",
    ),
    "acc read twice": (
        add_node("other", "threshold", ["stem.conv"], {"thresholds": f"{THRESHOLD}.thresholds"}, bits=2),
        "node 'stem.conv': an accumulator is read by exactly one node, not by 2",
    ),
    "no common fork": (
        lambda c: (
            set_in("group0.conv1.requant", "inputs", ["group0.conv1.conv", "stem.requant"])(c),
            set_in("group0.conv1.threshold", "inputs", [REQUANT])(c),
        ),
        "node 'group0.conv1.requant': its inputs do not meet at one fork over two unbranched chains",
    ),
    "stored tensor": (
        set_in(CONV, "tensors", {"weight": "nothing"}),
        f"node '{CONV}', tensor 'weight': 'nothing' is missing from the tensor file",
    ),
    "unknown tensor": (
        lambda c: entry(c, CONV)["tensors"].update(bias="linear.bias"),
        f"node '{CONV}': unknown tensor 'bias'; conv has weight",
    ),
    "tensor left out": (
        lambda c: entry(c, "group1.conv1.requant")["tensors"].update(bias="group1.conv0.requant.bias"),
        "tensor 'group1.conv1.requant.bias' of network.safetensors belongs to no node",
    ),
}


@pytest.mark.parametrize("fault", JSON_FAULTS)
def test_fault_in_json(folder: Path, fault: str):
    change, message = JSON_FAULTS[fault]
    edit(folder, change)
    text = refused(folder)
    assert text.startswith(f"{folder / 'network.json'}: ")
    assert message in text


def test_json_of_another_type(folder: Path):
    (folder / "network.json").write_text("[]")
    assert refused(folder).endswith("the manifest must be a table, not []")


@pytest.mark.parametrize("change", [
    set_key("name", "x" * 100_000), set_in(CONV, "name", "x" * 100_000), set_in(CONV, "op", "x y " * 25_000),
    set_in(CONV, "x" * 100_000, 1), set_in(CONV, "inputs", ["x" * 100_000]), set_in(CONV, "stride", "x" * 100_000),
    set_in(CONV, "tensors", {"weight": "x" * 100_000}), set_key("classes", ["x" * 100_000] * 4),
    set_key("x" * 100_000, 1), set_key("accuracy", {"x" * 100_000: 1}), set_key("data", ["x"] * 100_000),
])  # fmt: skip
def test_long_names_are_cut_in_messages(folder: Path, change: Callable):
    edit(folder, change)
    assert len(refused(folder)) < 3100


def test_files_that_are_too_large_are_not_read(folder: Path, monkeypatch):
    monkeypatch.setattr(files, "MOST_TENSORS", 1000)
    assert "network.safetensors: has " in (message := refused(folder))
    assert message.endswith(" bytes; at most 1,000 are read")
    monkeypatch.setattr(checked, "MOST_JSON", 100)
    assert "network.json: has " in refused(folder)


@pytest.mark.parametrize(("size", "message"), [
    ((65535, 65535), "node 'input': 3 x 65535 x 65535 values are more than 16,777,216; take smaller images"),
    ((65535, 99), "node 'input': 3 x 65535 x 99 values are more than 16,777,216"),
    ((4000, 1390), "node 'stem.conv': a kernel of 3 over 3 x 4000 x 1390 values reads 150,120,000 of them"),
])  # fmt: skip
def test_images_that_memory_is_not_made_for(folder: Path, size: tuple[int, int], message: str):
    """Refused before anything of that size is allocated: the folder loads in a moment, or a test of 600 s ends."""
    edit(folder, lambda content: entry(content, "input").update(height=size[0], width=size[1]))
    tracemalloc.start()
    text = refused(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message in text
    assert peak < 2**23


@pytest.mark.parametrize("count", [257, 300, 1000])
def test_more_classes_than_a_label_holds(folder: Path, count: int):
    edit(folder, lambda content: entry(content, "linear").update(out_features=count))
    assert f"node 'linear': attribute 'out_features' must be an integer 1 to 256, not {count}" in refused(folder)


def test_too_many_nodes():
    nodes = [Node(f"n{i}", "input", (), {"channels": 1, "height": 1, "width": 1, "bits": 1}) for i in range(4097)]
    with pytest.raises(ManifestError, match="has 4097 nodes; at most 4096 are allowed"):
        Network.build("many", "random", ["a"], nodes)


@pytest.mark.parametrize(("key", "value", "message"), [
    ("classes", ["a\x1b[2J", "b"], r"classes must be distinct names of printable letters, not \['a\\x1b\[2J', 'b'\]"),
    ("data", "digits\n", r"data must name a data set, not 'digits\\n'"),
    ("training", {"loss": float("nan")}, r"training is no JSON \(Out of range float values"),
    ("name", "\ud800", r"not valid JSON, or cut short \(.*surrogates not allowed"),
])  # fmt: skip
def test_what_could_not_be_shown_or_written_again(folder: Path, key, value, message):
    edit(folder, lambda content: content.update({key: value}))
    assert re.search(message, refused(folder))
