"""Seeded random networks for everyone's tests: those that soaking draws (sim/golden/drawn.py)."""

from popstream.sim.golden.drawn import SHORTCUTS, Builder, random_images, random_network

__all__ = ["SHORTCUTS", "Builder", "random_images", "random_network"]
