"""Whether a place and route that runs will come to an end, from the lines of its log."""

import re

from popstream.boards.flow.toolchain import Progress, ToolError

__all__ = ["NeverPlaced", "NeverRouted", "ending"]

# Designs that routed took 700 steps of the static placer at most; with every iteration of router2, but one or two in a
# row, fewer wires were used twice. The last few go to and fro for long, in iterations of a second.
STEPS, STUCK = 1500, 15
FEW, STUCK_AT_FEW = 100, 100


class NeverPlaced(ToolError):
    """The placement goes round in circles."""


class NeverRouted(ToolError):
    """The routing does."""


def ending(progress: Progress) -> Progress:
    """`progress`, which also raises NeverPlaced or NeverRouted where a line of nextpnr's log tells so.

    The analytical placer may push a memory to and fro for ever, and a router that once had fewer wires used twice, and
    has had more ever since, does not come back. Another seed often ends.
    """
    best, since = 0, 0

    def watched(text: str) -> None:
        nonlocal best, since
        progress(text)
        if step := re.search(r"\biter=(\d+) steplen=", text):
            if int(step[1]) > STEPS:
                raise NeverPlaced(f"the placement had not ended after {STEPS:,} steps; another seed, or clock, may")
        elif route := re.search(r"\biter=(\d+) wires=\d+ overused=(\d+)", text):
            at, wires = int(route[1]), int(route[2])
            if not since or wires < best:
                best, since = wires, at
            if at - since > (STUCK_AT_FEW if best <= FEW else STUCK):
                raise NeverRouted(
                    f"routing stood still: {best:,} wires used twice in its iteration {since}, {wires:,} in {at}"
                    f"{'' if best else ', as some are too slow for the clock'}; another seed, a slower clock or a "
                    f"folding of more cycles may route"
                )

    return watched
