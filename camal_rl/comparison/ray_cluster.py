"""The Ray cluster: reached or refused in one line, and whether one of its machines has room for a run."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from camal_rl.extras import install_command

_PROBE_SECONDS = 40.0
_SOCKET_SECONDS = 5.0
_OWN = "local"
# Ray tries for minutes where nothing answers, and may end the process then: it is tried out in one that can be spared.
_PROBE = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except BaseException as error:
    sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
"""


def import_ray() -> Any:
    """Return the package ``ray``; nothing of it reports anything to anybody.

    Raises:
        ImportError: it is not installed; the line says what installs it.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Runs of no GPU are told so by CUDA_VISIBLE_DEVICES, see ray_worker: Ray's notice on it would be printed.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError(f"the backend ray needs Ray; install it with: {install_command('ray')}") from error


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Be connected to a cluster inside the block.

    Args:
        ray: the package.
        address: ``HOST:PORT``, ``auto`` for the cluster that this machine is part of; ``None``: one of its own is
            started on this machine, and ended after the block.

    Raises:
        ConnectionError: there is none, or it does not take this program; one line.
        ValueError: an address of another kind.
    """
    if ray.is_initialized():
        raise ValueError("this program is connected to a Ray cluster already; call ray.shutdown() first")
    if address is not None:
        _check_address(address)
        _probe(address)
    own = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or _OWN, log_to_driver=False, logging_level="CRITICAL", configure_logging=True, **own)
    except (Exception, SystemExit) as error:
        raise ConnectionError(f"Ray cannot be {'reached' if address else 'started'}: {_words(error)}") from error
    _be_quiet()
    try:
        yield
    finally:
        ray.shutdown()


def check_room(ray: Any, wanted: Mapping[str, float]) -> None:
    """Raise a ValueError unless a machine of the cluster has what a run asks for.

    Args:
        ray: the package, connected.
        wanted: how much of each of Ray's resources: ``CPU``, ``GPU``.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(machine.get(key, 0.0) >= amount for key, amount in wanted.items()) for machine in machines):
        return
    asked = " and ".join(f"{amount:g} {key}" for key, amount in wanted.items())
    there = "; ".join(" and ".join(f"{machine.get(key, 0.0):g} {key}" for key in wanted) for machine in machines)
    raise ValueError(
        f"no machine of the Ray cluster has the {asked} that each run takes; they have {there}; give smaller "
        "--gpus-per-run and --cpus-per-run, or start Ray on one that has it"
    )


def _check_address(address: str) -> None:
    """Raise unless something listens at an address."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"the address of a Ray cluster is HOST:PORT, as `ray start` prints it, or auto; got {address!r}"
            + ("; this command runs on a machine of the cluster, without Ray's client" if "://" in address else "")
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_SOCKET_SECONDS):
            pass
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        raise ConnectionError(
            f"no Ray cluster can be reached at {address} ({why.lower()}); `ray start --head` on its first machine "
            "prints the address"
        ) from error


def _probe(address: str) -> None:
    """Raise a ConnectionError unless this program will be able to connect."""
    command = [sys.executable, "-c", _PROBE, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(
            f"what listens at {address} does not answer as a Ray cluster within {_PROBE_SECONDS:.0f} s; the port is "
            "that which `ray start --head` prints, 6379 by default"
        ) from error
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise ConnectionError(f"the Ray cluster at {address} cannot be used: {told}")


def _be_quiet() -> None:
    """Keep what Ray prints of dead processes and machines off the screen: each is told in a line of its own.

    Ray has no setting for this part of its output; its own debugger switches it off here.
    """
    with suppress(ImportError):
        internals: Any = importlib.import_module("ray._private.worker")
        internals._worker_logs_enabled = False


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
