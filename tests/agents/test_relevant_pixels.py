"""The base of terms that use masks: what it stores, and a term of one's own."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from camal_rl.agents import CAMALPPO, RelevantPixelsTerm, TermLoss
from camal_rl.agents.relevant_pixels import unpacked

from .fakes import CountingEnv, unsegmented_env

SETTINGS = {"n_steps": 8, "batch_size": 8, "n_epochs": 1, "seed": 3, "device": "cpu"}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_packed_masks_come_back():
    masks = torch.rand(3, 5, 7, generator=generator()) < 0.5
    packed = np.packbits(masks.numpy().reshape(3, -1), axis=1)
    assert packed.shape == (3, 5)
    assert torch.equal(unpacked(torch.from_numpy(packed), (5, 7)), masks)
    # The first pixel is the highest bit: 0b10100000.
    assert unpacked(torch.tensor([[160]], dtype=torch.uint8), (2, 2)).tolist() == [[[True, False], [True, False]]]


@dataclass(frozen=True)
class CountConfig:
    weight: float = 0.1


class CountTerm(RelevantPixelsTerm):
    """A term of one's own, which counts the relevant pixels of each minibatch."""

    name = "count"
    config_type = CountConfig
    does = "count looks at the pixels of"

    def loss(self, minibatch, evaluation, progress):
        number = self.relevant_pixels(minibatch).sum(dim=(1, 2)).float().mean()
        return TermLoss(evaluation.value.square().mean(), {"number": number})


def model(env, weight=0.1):
    terms = [CountTerm(CountConfig(weight))]
    return CAMALPPO(
        "CamPolicy", env, camal={"weight": 0}, terms=terms, policy_kwargs={"encoder": "compact"}, **SETTINGS
    )


def test_a_term_of_ones_own_sees_the_masks():
    """Every frame of CountingEnv has one relevant pixel."""
    trained = model(CountingEnv()).learn(16)
    assert trained.logger.name_to_value["count/number"] == 1
    assert trained.rollout_buffer.columns["count_relevant"].shape[2:] == (16 * 16 / 8,)


def test_without_masks_it_is_refused_by_its_name():
    with pytest.raises(ValueError, match="count needs an environment with segmentation"):
        model(unsegmented_env()).learn(16)
    model(unsegmented_env(), weight=0).learn(16)


def test_before_setup_there_is_no_policy():
    with pytest.raises(RuntimeError, match="call setup"):
        _ = CountTerm(CountConfig()).policy
