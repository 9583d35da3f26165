"""Keeps the C allocator from returning memory to the system between minibatches."""

from __future__ import annotations

import ctypes
import sys

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_KEEP = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks for the next allocation; return whether it accepted.

    By default every block above 32 MiB is mapped and unmapped each time, and the kernel clears each new page on first
    access. A PPO update on images on a CPU allocates such blocks in every minibatch and spent a third of its CPU time
    in the kernel (``benchmarks/allocator.py``). Memory is still reused, and the peak is that of the largest minibatch.
    Without glibc (macOS, Windows, musl) this does nothing.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEEP))
