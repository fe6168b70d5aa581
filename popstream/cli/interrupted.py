"""Whether an error began as an interrupt. Imports nothing: it is there while all else is being imported."""

__all__ = ["began_as_interrupt"]


def began_as_interrupt(error: BaseException) -> bool:
    """Whether an interrupt is among what the error was raised from, or while it was handled."""
    left: list[BaseException | None] = [error]
    seen: set[int] = set()
    while left:
        found = left.pop()
        if found is None or id(found) in seen:
            continue
        if isinstance(found, KeyboardInterrupt):
            return True
        seen.add(id(found))
        left += [found.__cause__, found.__context__]
    return False
