"""Suppresses the notice that the unmaintained ``gym`` package prints on stderr.

Procgen needs ``gym``, and Stable-Baselines3 imports ``gym`` if it is installed. ``gym`` then prints that it is no
longer maintained. Users of this package cannot act on that notice: all environments here are Gymnasium environments.
``gym`` reads its notices from ``gym_notices.notices.notices``. This module empties that dictionary, so it has to be
imported before Stable-Baselines3.
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
