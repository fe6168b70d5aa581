"""Messages name make's targets in a checkout, and the verbs of popstream where it is installed."""

import shlex

import pytest

from popstream.cli.app import app
from popstream.model.commands import CHECKOUT, here, installs


def test_a_checkout_has_make():
    assert CHECKOUT
    assert here("run make sim NET=a") == "run make sim NET=a"


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("`make export` writes one", "`popstream export` writes one"),
        ("run make bitstream BOARD=icebreaker NET=digits-w1a2; x", "run popstream bitstream digits-w1a2 icebreaker; x"),
        ("make bitstream BOARD=ulx3s-25f RELOADABLE=1 NET=net", "popstream bitstream net ulx3s-25f --reloadable"),
        ("(make boards)", "(popstream boards)"),
        ("run `make sweep SPEC=gpu` first", "run `popstream sweep gpu` first"),
        ("make sim NET=net N=1 STALL=0.5", "popstream sim net --images 1 --stall 0.5"),
        ("make board-sim BOARD=icebreaker NET=digits-w1a2", "popstream board-sim digits-w1a2 icebreaker"),
    ],
)
def test_an_installed_package_has_its_verbs(said, typed):
    assert here(said, checkout=False) == typed


@pytest.mark.parametrize(
    "line",
    [
        "make bitstream BOARD=icebreaker RELOADABLE=1 NET=digits-w1a2 SEED=3 SEEDS=2 FREQ=24",
        "make sim NET=digits-w1a2 N=1 STALL=0.5 WAVES=1",
        "make boards FITS=1 NET=digits-w1a2",
        "make train NET=digits-w1a2 SEED=3",
        "make fold NET=digits-w1a2 BOARD=icebreaker FPS=100",
    ],
)
def test_the_verbs_take_what_is_said(line):
    app.parse_args(shlex.split(here(line, checkout=False))[1:], exit_on_error=False, print_error=False)


def test_what_brings_a_package():
    assert installs("sim", "sim") == "make sim"
    assert installs("sim", "sim", checkout=False) == "pip install 'popstream[sim]'"
