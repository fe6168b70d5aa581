"""The drawn figures, by the name of their file in this folder. Door: FIGURES."""

from collections.abc import Callable

from docs.figures import arithmetic, pipeline, rooms, way, window

__all__ = ["FIGURES"]

FIGURES: dict[str, Callable[[], str]] = {
    "folding": pipeline.folding,
    "pipeline": pipeline.pipeline,
    "planes": arithmetic.planes,
    "rooms": rooms.rooms,
    "stage": pipeline.stage,
    "way": way.way,
    "window": window.window,
}
