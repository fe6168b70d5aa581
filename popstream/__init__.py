"""popstream: low-bit ResNets as streaming bit-serial popcount accelerators; four rooms: model, hw, sim, boards."""

from importlib import metadata


def __getattr__(name: str) -> str:
    """`__version__`, that of the installed package (pyproject.toml); nothing is read before it is asked for."""
    if name == "__version__":
        return metadata.version("popstream")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
