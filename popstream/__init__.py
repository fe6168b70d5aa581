"""popstream: low-bit ResNets as streaming bit-serial popcount accelerators; four rooms: model, hw, sim, boards."""


def __getattr__(name: str) -> str:
    """`__version__`, that of the installed package (pyproject.toml); nothing is read before it is asked for."""
    if name == "__version__":
        from importlib import metadata  # takes a while, in which Ctrl-C would be told by a traceback

        return metadata.version("popstream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
