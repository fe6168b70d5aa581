"""The one command, `popstream <verb>`. Door: front.py; options.py has what the verbs share, a file each group of verbs.

Verbs import what they work with when they are called: help and wrong commands need neither torch nor amaranth.
"""

import sys
from collections.abc import Sequence

from popstream.cli.interrupted import began_as_interrupt

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """front.main, which takes a moment to be imported, in which Ctrl-C may come too."""
    try:
        from popstream.cli.front import main as run

        return run(arguments)
    except BaseException as error:
        if not began_as_interrupt(error):
            raise
        print("interrupted", file=sys.stderr)
        return 130
