"""RTLIL of memories in which no word is read while it is written: yosys is told so, and builds nothing for that case.

A Memory with the attribute `no_rw_check` makes this promise. Yosys heeds it only where it makes the read port itself;
Amaranth's are ready made, and would each get a copy of what was written and a choice beside the block RAM.
"""

import re

__all__ = ["heed_promises"]

_MODULE = re.compile(r"(?m)^module .*?^end$", re.DOTALL)
_PROMISED = re.compile(r"(?m)^  attribute \\no_rw_check 1\n(?:  attribute .*\n)*  memory .* (\S+)$")
_MASK = re.compile(r"(?m)^    parameter \\COLLISION_X_MASK 1'0$")  # of one write port
_READ_PORT = re.compile(r"(?m)^  cell \$memrd_v2 .*?^  end$", re.DOTALL)


def heed_promises(rtlil: str) -> str:
    """`rtlil`, as Amaranth writes it, in which a promised collision's outcome is nobody's concern."""

    def module(found: re.Match[str]) -> str:
        promised = {name.replace("\\", "\\\\") for name in _PROMISED.findall(found[0])}
        return _READ_PORT.sub(lambda port: marked(port[0], promised), found[0]) if promised else found[0]

    return _MODULE.sub(module, rtlil)


def marked(port: str, promised: set[str]) -> str:
    """A read port with its collisions left open if its memory is one of `promised`."""
    if not any(f'parameter \\MEMID "{name}"\n' in port for name in promised):
        return port
    return _MASK.sub(lambda mask: mask[0].replace("'0", "'1"), port)
