"""The C++ files of this folder, compiled once for this processor and called on tensors, shared by torch's threads."""

import ctypes
import hashlib
import platform
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

import popstream
from popstream.model.files import write_whole

HERE = Path(__file__).parent
SOURCES = ("norm.cpp", "small.cpp", "vector.h")
COMPILER = "g++"
# what sums need to be vectors, and no more: -ffast-math would have the whole process flush small numbers to zero
FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math",
         "-shared", "-fPIC", "-Wno-psabi"]  # fmt: skip
BLOCK = 16  # channels that the functions work on at once
LEAST = 1 << 15  # values of a tensor for each thread: fewer are not worth its call


def native() -> list[str]:
    """The flags that let the compiler use all of this processor."""
    if platform.machine() in ("x86_64", "AMD64"):
        return ["-march=native", "-mprefer-vector-width=512"]
    return ["-mcpu=native"]


def folder() -> Path:
    """Where compiled libraries are kept: build/kernels of the checkout, or of this folder where there is none."""
    checkout = Path(popstream.__file__).parents[1]
    return (checkout if (checkout / "pyproject.toml").exists() else Path()) / "build" / "kernels"


@cache
def library() -> ctypes.CDLL | None:
    """The functions of the C++ files; None, with a warning, where they cannot be compiled."""
    try:
        command = [COMPILER, *FLAGS, *native()]
        # what the flags mean on this processor is part of the key: a folder may be shared by machines
        asked = subprocess.run([*command, "-Q", "--help=target"], capture_output=True, check=True).stdout
        digest = hashlib.sha256(asked + repr(command).encode())
        for name in SOURCES:
            digest.update((HERE / name).read_bytes())
        path = folder() / f"{digest.hexdigest()[:16]}.so"
        if not path.exists():
            files = [str(HERE / name) for name in SOURCES if name.endswith(".cpp")]
            with tempfile.TemporaryDirectory() as place:
                out = Path(place) / path.name
                subprocess.run([*command, "-o", str(out), *files], capture_output=True, check=True)
                write_whole(path, out.read_bytes())
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"") or str(error).encode()
        lines = reason.decode(errors="replace").strip().splitlines()
        told = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "no reason given")
        warnings.warn(f"Training runs in more passes, slower: {COMPILER} compiles no C++ here ({told})", stacklevel=2)
        return None


@cache
def pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")


def address(tensor: Tensor | None) -> ctypes.c_void_p | None:
    return None if tensor is None else ctypes.c_void_p(tensor.data_ptr())


def parts(like: Tensor) -> int:
    """How many threads share the work on a tensor."""
    return max(1, min(torch.get_num_threads(), like.numel() // LEAST))


def shared(threads: int, count: int, work: Callable[[int, int, int], object]) -> None:
    """work(thread, first, last) on equal parts of `count` things."""
    if threads == 1:
        work(0, 0, count)
        return
    edges = [count * part // threads for part in range(threads + 1)]
    for done in [pool(threads).submit(work, t, edges[t], edges[t + 1]) for t in range(threads)]:
        done.result()
