"""A network whose pipeline is too large for a board is offered on a shared stage, and only where that is routed."""

import pytest

from popstream.boards.fitting.capacity import SHARED, SHARED_CLOCK, fastest_within, fit, lacking, routable, sharing
from popstream.boards.known import find
from popstream.hw.cost.network import words
from popstream.hw.folding.folding import interval
from popstream.hw.folding.outline import plans
from popstream.hw.unit.weights import MERGED_DEPTH
from popstream.model import manifest


@pytest.fixture(scope="module")
def resnet():
    return manifest.load(manifest.find("resnet20-w1a2"))


def test_resnet20_fits_a_25f_on_a_shared_stage(resnet):
    board = find("ulx3s-25f")
    assert fastest_within(board.family, resnet, routable(board)) is None
    found = fit(board, resnet)
    assert found.roomy
    assert len(plans(resnet, found.folding)) == 1
    assert not lacking(board, found.needed, SHARED["ecp5"])
    assert found.interval == max(interval(resnet, found.folding).values()) < 34_000


def test_where_both_fit_the_faster_one_is_offered(resnet):
    board = find("ulx3s-45f")
    alone, (cycles, _) = fastest_within(board.family, resnet, routable(board)), sharing(board, resnet)
    assert cycles < SHARED_CLOCK * alone[0]
    assert fit(board, resnet).interval == cycles


def test_a_target_takes_the_pipeline_that_reaches_it_else_the_stage(resnet):
    assert not plans(resnet, fit(find("ulx3s-85f"), resnet, 22_000).folding)
    assert plans(resnet, fit(find("ulx3s-45f"), resnet, 22_000).folding)


def test_no_other_family_is_offered_one(resnet):
    assert sharing(find("tang-primer-20k"), resnet) is None


def test_a_full_device_has_fewer_registers_in_trees_and_more_at_weights(resnet):
    """Trees registered at every second level where flip-flops are short, at each where there is room. Weights of a few
    words have a register of their own, so that their address leads to one LUT for each bit."""
    board = find("ulx3s-85f")
    full = fit(board, resnet)
    assert {fold.levels for fold in full.folding.values()} == {2}
    few = [name for name, fold in full.folding.items() if 1 < words(resnet.node(name), fold) <= MERGED_DEPTH]
    assert len(few) >= 6
    assert {full.folding[name].storage for name in few if full.folding[name].planes > 1} == {"registered"}
    assert {fold.levels for fold in fit(board, resnet, 4 * full.interval).folding.values()} == {1}
