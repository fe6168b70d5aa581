"""The command's application and the groups that its verbs stand in; each file of verbs adds its own."""

from collections.abc import Sequence
from inspect import signature

from cyclopts import App, Group

import popstream
from popstream.cli.pages import Page

__all__ = ["BOARD", "DESIGN", "SIMULATE", "TRAIN", "app", "run"]

SIMULATE = Group("Run a network in simulation", sort_key=1)
TRAIN = Group("Train networks", sort_key=2)
DESIGN = Group("Look at the hardware", sort_key=3)
BOARD = Group("Put it on a board", sort_key=4)


def optional(verb: list[str]) -> list[str]:
    """The names of a verb's arguments that may be left away, as its line of usage shows them."""
    command = app
    for name in verb:
        command = command[name]
    assert command.default_command is not None
    found = []
    for parameter in signature(command.default_command).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            found.append(f"[{parameter.name.upper()}...]")
        elif parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is not parameter.empty:
            found.append(f"[{parameter.name.upper()}]")
    return found


app = App(
    name="popstream",
    usage="popstream VERB; popstream VERB --help shows an example, its time, options",
    help="Low-bit ResNets as streaming popcount accelerators, proven bit for bit. "
    "--version says which; --install-completion teaches the verbs to this shell.",
    help_format="plaintext",
    help_formatter=Page(optional),
    version=lambda: popstream.__version__,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.register_install_completion_command(show=False)
for flag in ("--help", "--version"):
    app[flag].show = False


def run(given: Sequence[str]) -> int:
    """Run the verb that `given` names; its exit status. What goes wrong is raised, a wrong line as a CycloptsError."""
    return app(given, exit_on_error=False, print_error=False, verbose=False) or 0
