"""Ray, which spreads work over processes: on this machine alone, or on the cluster that RAY_ADDRESS names.

A Ray of this machine's own listens on its loopback alone, so that no other machine can give it work to run.
"""

import os
import signal
import threading
from typing import Any

from popstream.model.commands import installs
from popstream.model.machine import cores

__all__ = ["ADDRESS", "WorkersError", "start_ray"]

ADDRESS = "RAY_ADDRESS"
# Ray listens on every address where it can be joined by other machines. It takes macOS and Windows for systems that
# cannot be, and this variable tells it which: "0" keeps it and its children on 127.0.0.1 on any system.
JOINABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


class WorkersError(RuntimeError):
    """Ray is missing or does not start; one line."""


def start_ray(processes: int | None = None, **options: Any) -> Any:
    """Ray, connected to RAY_ADDRESS, or started here with so many processes (one for each core). WorkersError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it, Ray warns that this will change
    options |= dict(log_to_driver=False, logging_level="ERROR")
    address = os.environ.get(ADDRESS)
    if not address:
        os.environ[JOINABLE] = "0"
        options |= dict(address="local", num_cpus=processes or cores(), include_dashboard=False)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise WorkersError(f"Package {error.name} is missing; {installs('.venv/.farm', 'farm')} brings it") from None
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray sets its own, which ends this process with status 15
    except Exception as error:  # Ray has no class of its own for a node that does not come up in time
        where = f"the cluster at {ADDRESS}={address}" if address else "this machine"
        raise WorkersError(f"Ray does not start on {where}: {str(error).splitlines()[0]}") from None
    return ray
