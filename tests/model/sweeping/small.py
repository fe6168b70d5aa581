"""A small sweep for tests: two seeds of a float network, and of one of few bits that it teaches."""

__all__ = ["ONE", "SPEC", "write"]

ONE = """
data = "digits"
augment = { shift = 1, flip = false }
[network]
depth = 4
widths = [4]
in_channels = 1
learned_clip = true
[[phase]]
name = "train"
epochs = 2
batch = 128
"""
SPEC = """
title = "Two bits, taught by float"
seeds = [0, 1]
[[group]]
name = "float"
recipe = "one.toml"
[[group]]
name = "bits"
recipe = "one.toml"
set = { "phase.*.teacher" = "@float", "phase.*.start" = "@float" }
axes = ["phase.*.weight_bits", "phase.*.act_bits"]
points = [[1, 2]]
"""


def write(folder, spec=SPEC, one=ONE):
    (folder / "one.toml").write_text(one)
    path = folder / "small.toml"
    path.write_text(spec.replace("one.toml", str(folder / "one.toml")))
    return path
