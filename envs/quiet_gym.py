"""Keeps the notice that the unmaintained ``gym`` package prints on stderr away from users.

Procgen needs ``gym`` installed, and Stable-Baselines3 imports it where it finds it; ``gym`` then prints that it is no
longer maintained, which nobody who uses this package can act on: all environments here are Gymnasium environments.
``gym`` reads its notices from ``gym_notices.notices.notices``; emptying that dictionary first keeps it silent, so this
module has to be imported before Stable-Baselines3.
"""

from __future__ import annotations

import importlib


def _forget_notices() -> None:
    try:
        notices = importlib.import_module("gym_notices.notices")
    except ImportError:
        return
    notices.notices.clear()


_forget_notices()
