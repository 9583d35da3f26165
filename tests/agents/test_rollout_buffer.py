import pytest
import torch

from camal_rl.agents import CAMALPPO, CamalConfig

from .fakes import CountingEnv


@pytest.fixture
def rolled_out():
    model = CAMALPPO(
        "CamPolicy",
        CountingEnv(num_envs=2, size=16, episode_length=3),
        n_steps=8,
        batch_size=8,
        n_epochs=1,
        camal=CamalConfig(weight=0.1),
        policy_kwargs={"encoder": "compact"},
    )
    model.learn(16)
    return model


def test_every_observation_keeps_its_own_mask_across_automatic_resets(rolled_out):
    samples = next(rolled_out.rollout_buffer.get(batch_size=16))
    assert samples.targets.dtype == torch.uint8
    assert samples.targets.shape == (16, 4, 4)
    # The frame's brightness is its step, and the relevant pixel of step t is in column t: cell t // 4 of row 0.
    steps = samples.observations[:, 0, 0, 0].long()
    assert sorted(set(steps.tolist())) == list(range(8))
    expected = torch.zeros(16, 4, 4, dtype=torch.uint8)
    expected[torch.arange(16), 0, steps // 4] = 255
    assert torch.equal(samples.targets, expected)


def test_the_next_rollout_starts_with_the_mask_of_the_frame_on_screen(rolled_out):
    rolled_out.learn(16, reset_num_timesteps=False)
    samples = next(rolled_out.rollout_buffer.get(batch_size=16))
    steps = samples.observations[:, 0, 0, 0].long()
    assert sorted(set(steps.tolist())) == list(range(8, 16))
    assert torch.equal(samples.targets[:, 0].argmax(dim=1), steps // 4)


def test_masks_cost_one_byte_a_cell(rolled_out):
    targets = rolled_out.rollout_buffer.targets
    assert targets.dtype == torch.uint8
    assert targets.nbytes == 8 * 2 * 4 * 4
