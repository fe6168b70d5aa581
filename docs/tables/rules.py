"""The rules of arithmetic, as the golden model's docstring has them."""

from popstream.sim import golden

__all__ = ["rules"]


def rules() -> str:
    """The table whose first column is `rule`."""
    lines = (golden.__doc__ or "").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("| rule |"))
    found = []
    for line in lines[begin:]:
        if not line.startswith("|"):
            break
        found.append(line)
    return "\n".join(found)
