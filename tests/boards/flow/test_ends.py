"""A place and route that goes round in circles is given up, one that gets on is not."""

import pytest

from popstream.boards.flow.ends import FEW, STEPS, STUCK, STUCK_AT_FEW, ending
from popstream.boards.flow.toolchain import ToolError

STEP = "0 s  Info: iter={} steplen=1.1 a=4.2 penalty=[0.1, 0.1, 0.1, 0.1]"
ROUTE = "0 s  Info:     iter={} wires=400000 overused={} overuse=9999 tmgfail=0 archfail=NA"


def test_a_placement_that_does_not_end_is_given_up():
    seen = []
    watched = ending(seen.append)
    for step in (1, 700, STEPS):
        watched(STEP.format(step))
    with pytest.raises(ToolError, match=r"had not ended after 1,500 steps; another seed"):
        watched(STEP.format(STEPS + 1))
    assert len(seen) == 4


def test_routing_that_stands_still_is_given_up():
    watched = ending(lambda text: None)
    watched(ROUTE.format(1, 9000))
    watched(ROUTE.format(2, 1945))
    for iteration in range(3, 3 + STUCK):
        watched(ROUTE.format(iteration, 1945 + iteration))
    with pytest.raises(ToolError, match=r"still: 1,945 wires used twice in its iteration 2, 2,100 in 18; another"):
        watched(ROUTE.format(18, 2100))


@pytest.mark.parametrize(("best", "why"), [(FEW, ""), (0, ", as some are too slow for the clock")])
def test_the_last_wires_may_take_long(best, why):
    watched = ending(lambda text: None)
    for iteration in range(1, 2 + STUCK_AT_FEW):
        watched(ROUTE.format(iteration, best + 3 * (iteration > 1)))
    with pytest.raises(ToolError, match=f"still: {best} wires used twice in its iteration 1, {best + 7} in 102{why}; "):
        watched(ROUTE.format(2 + STUCK_AT_FEW, best + 7))


def test_one_that_gets_on_is_not():
    watched = ending(lambda text: None)
    for iteration in range(1, 100):
        watched(ROUTE.format(iteration, 10_000 - 100 * iteration + 150 * (iteration % 2)))
        watched("Info: Routing..")
