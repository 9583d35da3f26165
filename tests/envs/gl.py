"""Where MuJoCo can draw: tests that need it are skipped elsewhere, with the reason."""

import importlib.util
import os
from functools import lru_cache

import pytest

from camal_rl.envs.dm_control.engine import NoRendererError, import_suite, open_context


@lru_cache(maxsize=1)
def why_not():
    """Return why dm_control cannot be tested here, empty where it can."""
    if importlib.util.find_spec("dm_control") is None:
        return "" if "CI" in os.environ else "dm_control is not installed"
    try:
        import_suite()
        open_context(32).free()
    except NoRendererError as error:
        return str(error)
    return ""


needs_dm_control = pytest.mark.skipif(bool(why_not()), reason=why_not())
