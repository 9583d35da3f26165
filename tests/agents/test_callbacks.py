import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from camal_rl.agents import CAMALPPO, CamalConfig, HParamCallback, OverlayCallback, UpdateLogCallback
from camal_rl.envs import make_vec


def test_tensorboard_holds_pictures_scalars_and_hyperparameters(tmp_path):
    env = make_vec("toy_grid/default", num_envs=4, seed=0)
    frames, labels = env.reset(), env.segmentation()
    model = CAMALPPO(
        "CamPolicy",
        env,
        n_steps=8,
        batch_size=32,
        policy_kwargs={"encoder": "compact"},
        camal=CamalConfig(weight=0.1),
        tensorboard_log=str(tmp_path),
    )
    overlay = OverlayCallback(frames, labels, env.spec.relevant_lookup(), every_steps=64)
    hyperparameters = HParamCallback({"camal.weight": 0.1, "targets": ("value",)})
    model.learn(4 * 8 * 4, callback=[overlay, hyperparameters, UpdateLogCallback()])

    events = EventAccumulator(str(next(tmp_path.iterdir())), size_guidance={"images": 0})
    events.Reload()
    pictures = events.Images("camal/attention")
    assert [picture.step for picture in pictures] == [0, 64, 128]
    assert len({picture.encoded_image_string for picture in pictures}) == 3
    tags = events.Tags()["scalars"]
    assert {"camal/loss", "camal/value/epg", "camal/policy/iou", "train/value_loss"} <= set(tags)
    assert "_hparams_/session_start_info" in events.summary_metadata
    # One point for each update, at the step of its rollout; the last update's is there, and none is there twice.
    for tag in ("train/value_loss", "camal/loss", "camal/value/epg", "time/fps"):
        assert [scalar.step for scalar in events.Scalars(tag)] == [32, 64, 96, 128]


def test_an_overlay_alone_writes_no_figure_twice(tmp_path):
    env = make_vec("toy_grid/default", num_envs=4, seed=0)
    overlay = OverlayCallback(env.reset(), env.segmentation(), env.spec.relevant_lookup(), every_steps=1)
    model = CAMALPPO(
        "CamPolicy", env, n_steps=8, batch_size=32, policy_kwargs={"encoder": "compact"}, tensorboard_log=str(tmp_path)
    )
    for _ in range(2):
        model.learn(2 * 8 * 4, callback=overlay, reset_num_timesteps=False)
    events = EventAccumulator(str(next(tmp_path.iterdir())), size_guidance={"images": 0})
    events.Reload()
    assert [picture.step for picture in events.Images("camal/attention")] == [0, 32, 64, 96, 128]
    for tag in events.Tags()["scalars"]:
        steps = [scalar.step for scalar in events.Scalars(tag)]
        assert len(set(steps)) == len(steps), tag


@pytest.mark.parametrize(
    ("frames", "every", "message"), [((2, 8, 8, 3), 0, "at least 1"), ((2, 8, 4, 3), 1, "same N, H and W")]
)
def test_bad_arguments(frames, every, message):
    with pytest.raises(ValueError, match=message):
        OverlayCallback(np.zeros(frames, np.uint8), np.zeros((2, 8, 8), np.uint8), np.zeros(256, bool), every)
