"""Which family a platform's device belongs to, where a block is built of its cells."""

from typing import Any

__all__ = ["is_ecp5", "is_ice40"]


def is_ecp5(platform: Any) -> bool:
    """Whether `platform` (anything with a `device`, or None) is a Lattice ECP5."""
    return str(getattr(platform, "device", "")).startswith("LFE5U")


def is_ice40(platform: Any) -> bool:
    """Whether `platform` (anything with a `device`, or None) is a Lattice iCE40."""
    return str(getattr(platform, "device", "")).startswith("iCE40")
