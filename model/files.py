"""Files that are whole or not there: written beside their place and then renamed."""

import glob
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

FULL = 65_536  # bytes that are left of a full disk, or fewer
MOST_DIGITS = 9  # of a process's number, and fewer


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path`, its folder made if need be; a failure leaves what was there before and nothing else.

    What a process that was killed left beside it is taken away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if is_left(left):
            left.unlink(missing_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.unlink(missing_ok=True)
        beside.touch(exist_ok=False)  # ours: never through a link that another has put there
        beside.write_bytes(content)
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:  # of a full disk, it names no file; of others, the one beside
            error.filename = str(path)
        raise


def write_json(path: Path, content: Any) -> None:
    """`content` as indented JSON, whole."""
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())


def write_figure(figure: Any, path: Path, dpi: int) -> None:
    """A figure of matplotlib as PNG, whole, and closed."""
    from matplotlib import pyplot

    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    pyplot.close(figure)
    write_whole(path, content.getvalue())


def full_disk(folder: Path) -> str:
    """What is to be said of a folder whose disk is full, "" of another: some programs end well on one, with what they
    wrote cut short."""
    full = shutil.disk_usage(folder).free < FULL
    return f"a full disk: No space left on device for {folder}; make room and call again" if full else ""


def is_left(path: Path) -> bool:
    """Whether a hidden file or folder, named after the number of the process that made it, is that of none any more."""
    number = path.suffix[1:]
    known = path.name.startswith(".") and number.isdecimal() and len(number) < MOST_DIGITS
    return known and not alive(int(number))


def alive(process: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(process, 0)  # signal 0 asks, and does nothing
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True
