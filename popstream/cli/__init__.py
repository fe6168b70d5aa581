"""The one command, `popstream <verb>`. Door: front.py; options.py has what the verbs share, a file each group of verbs.

Verbs import what they work with when they are called: help and wrong commands need neither torch nor amaranth.
"""

from popstream.cli.front import main

__all__ = ["main"]
