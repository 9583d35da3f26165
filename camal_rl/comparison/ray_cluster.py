"""Connects to a Ray cluster, with one-line errors, and checks that one of its machines has room for a run."""

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
# If nothing answers, Ray tries for minutes and may then end the process, so a child process tries first.
_PROBE = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except BaseException as error:
    sys.exit(f"{type(error).__name__}: {' '.join(str(error).split())}")
"""


def import_ray() -> Any:
    """Return the package ``ray`` with its usage reports switched off.

    Raises:
        ImportError: it is not installed; the message contains the install command.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Runs without a GPU get an empty CUDA_VISIBLE_DEVICES, see ray_worker; this suppresses Ray's notice about it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ImportError(f"the backend ray needs Ray; install it with: {install_command('ray')}") from error


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to a cluster inside the block.

    Args:
        ray: the package.
        address: ``HOST:PORT``, ``auto`` for the cluster that this machine belongs to; ``None`` starts a cluster on this
            machine and ends it after the block.

    Raises:
        ConnectionError: there is no cluster, or it refuses this program; one line.
        ValueError: the address has another form.
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
    """Raise a ValueError unless a machine of the cluster has the resources for a run.

    Args:
        ray: the package, connected.
        wanted: amount of each of Ray's resources: ``CPU``, ``GPU``.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(machine.get(key, 0.0) >= amount for key, amount in wanted.items()) for machine in machines):
        return
    asked = " and ".join(f"{amount:g} {key}" for key, amount in wanted.items())
    there = "; ".join(" and ".join(f"{machine.get(key, 0.0):g} {key}" for key in wanted) for machine in machines)
    raise ValueError(
        f"no machine of the Ray cluster has the {asked} that each run needs; they have {there}; give smaller "
        "--gpus-per-run and --cpus-per-run, or add a machine that has them"
    )


def _check_address(address: str) -> None:
    """Raise unless a program listens at an address."""
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
    """Raise a ConnectionError unless this program can connect."""
    command = [sys.executable, "-c", _PROBE, address]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConnectionError(
            f"the program at {address} does not answer as a Ray cluster within {_PROBE_SECONDS:.0f} s; use the port "
            "that `ray start --head` prints, 6379 by default"
        ) from error
    if done.returncode:
        told = (done.stderr.strip().splitlines() or ["it ended without a message"])[-1]
        raise ConnectionError(f"the Ray cluster at {address} cannot be used: {told}")


def _be_quiet() -> None:
    """Suppress Ray's output about dead processes and machines, each of which is reported in one line instead.

    Ray has no setting for this part of its output; its own debugger switches it off in the same place.
    """
    with suppress(ImportError):
        internals: Any = importlib.import_module("ray._private.worker")
        internals._worker_logs_enabled = False


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
