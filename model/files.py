"""Files that are whole or not there: written beside their place and then renamed."""

import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: Path, content: bytes) -> None:
    """Put `content` at `path`, its folder made if need be; a failure leaves what was there before and nothing else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """`content` as indented JSON, whole."""
    write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
