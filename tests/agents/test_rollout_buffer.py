import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from camal_rl.agents import CAMALPPO, CamalConfig, CamalRolloutBuffer
from camal_rl.agents.rollout_buffer import TARGET_MASKS

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


@pytest.mark.gpu
def test_a_rollout_lies_on_the_gpu_and_holds_what_the_environment_showed():
    rollouts = {}
    for device in ("cpu", "cuda"):
        env = CountingEnv(num_envs=2, size=16, episode_length=3)
        model = CAMALPPO("CamPolicy", env, n_steps=8, batch_size=8, policy_kwargs={"encoder": "compact"}, device=device)
        model.learn(16)
        rollouts[device] = model.rollout_buffer
    samples = next(rollouts["cuda"].get(batch_size=16))
    assert samples.observations.is_cuda
    assert samples.targets.is_cuda
    assert (rollouts["cpu"].observations == rollouts["cuda"].observations).all()
    assert torch.equal(rollouts["cpu"].targets, rollouts["cuda"].targets.cpu())


def test_observations_have_the_shape_of_the_stock_buffers(rolled_out):
    assert rolled_out.rollout_buffer.observations.shape == (8, 2, 3, 16, 16)


def test_minibatches_before_the_end_of_a_rollout_are_refused(rolled_out):
    rolled_out.rollout_buffer.reset()
    with pytest.raises(RuntimeError, match="must be complete"):
        next(rolled_out.rollout_buffer.get(4))


def test_evenly_spaced_samples_are_the_same_every_time_and_belong_together(rolled_out):
    first, second = (rolled_out.rollout_buffer.evenly_spaced(5) for _ in range(2))
    assert len(first.observations) == 5
    assert torch.equal(first.observations, second.observations)
    steps = first.observations[:, 0, 0, 0].long()
    assert torch.equal(first.targets[:, 0].argmax(dim=1), steps // 4)
    assert len(rolled_out.rollout_buffer.evenly_spaced(100).observations) == 16


IMAGES = spaces.Box(0, 255, (3, 4, 5), np.uint8)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("transposed", [False, True])
def test_add_stores_a_step_where_the_learner_reads_it(device, transposed):
    kinds = (CamalRolloutBuffer, RolloutBuffer)
    ours, stock = (kind(2, IMAGES, spaces.Discrete(3), device=device, n_envs=2) for kind in kinds)
    rng = np.random.default_rng(0)
    for step in range(2):
        images = rng.integers(0, 256, (2, 4, 5, 3) if transposed else (2, 3, 4, 5), dtype=np.uint8)
        images = images.transpose(0, 3, 1, 2) if transposed else images
        others = (np.array([step, 1]), np.ones(2, np.float32), np.zeros(2), torch.rand(2, 1), torch.rand(2))
        ours.add(images, *others, columns={TARGET_MASKS: np.full((2, 1, 1), step, np.uint8)})
        stock.add(images, *others)
    assert ours.full
    for name in ("observations", "actions", "rewards", "values", "log_probs", "episode_starts"):
        assert np.array_equal(getattr(ours, name), getattr(stock, name)), name
    assert ours.targets.flatten().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("device", DEVICES)
def test_the_policy_acts_on_images_as_they_lie_in_memory(device):
    last = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8).transpose(0, 3, 1, 2)
    for images in ([last, np.ascontiguousarray(last)], [np.ascontiguousarray(last), last]):
        buffer = CamalRolloutBuffer(2, IMAGES, spaces.Discrete(3), device=device, n_envs=2)
        for each in images:
            given = buffer.store_observations(each, {})
            buffer.pos += 1
            assert given.stride() == torch.as_tensor(each, device=device).stride()
            assert np.array_equal(given.cpu().numpy(), each)
    flipped = last[..., ::-1]
    buffer.pos = 0
    assert np.array_equal(buffer.store_observations(flipped, {}).cpu().numpy(), flipped)
