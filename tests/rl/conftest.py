"""What several tests of agents need."""

import pytest

from camal_rl.rl.explain import explanation as explanation_module


@pytest.fixture
def maskless(monkeypatch):
    """Have the simulator give no masks."""
    make = explanation_module.make_level_set_env

    def refuse_masks(config, name, num_envs, seed, masks):
        if masks:
            raise ValueError("this simulator gives no masks")
        return make(config, name, num_envs, seed, masks)

    monkeypatch.setattr(explanation_module, "make_level_set_env", refuse_masks)
