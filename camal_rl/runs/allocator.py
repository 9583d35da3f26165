"""Keeps the C allocator from handing memory back to the system between minibatches."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_KEEP = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks for the next allocation; say whether it did.

    By default every block above 32 MiB is mapped and unmapped anew, and each fresh page is cleared by the kernel on
    first touch. A PPO update on images on a CPU makes such blocks in every minibatch: a third of its CPU time was
    spent in the kernel (``benchmarks/allocator.py``). Memory is still reused, and peak use stays that of the largest
    minibatch. Without glibc (macOS, Windows, musl) this does nothing.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEEP))
