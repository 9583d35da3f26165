"""Fixtures for the tests of image classifiers."""

import pytest
import torch


@pytest.fixture
def own_random_numbers():
    """Seed torch for one test, and leave its generator as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
