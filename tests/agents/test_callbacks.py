import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from camal_rl.agents import CAMALPPO, CamalConfig, HParamCallback, OverlayCallback
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
    model.learn(4 * 8 * 4, callback=[overlay, HParamCallback({"camal.weight": 0.1, "targets": ("value",)})])

    events = EventAccumulator(str(next(tmp_path.iterdir())), size_guidance={"images": 0})
    events.Reload()
    pictures = events.Images("camal/attention")
    assert [picture.step for picture in pictures] == [32, 96, 128]
    assert len({picture.encoded_image_string for picture in pictures}) == 3
    tags = events.Tags()["scalars"]
    assert {"camal/loss", "camal/value/epg", "camal/policy/iou", "train/value_loss"} <= set(tags)
    assert "_hparams_/session_start_info" in events.summary_metadata


@pytest.mark.parametrize(
    ("frames", "every", "message"), [((2, 8, 8, 3), 0, "at least 1"), ((2, 8, 4, 3), 1, "same N, H and W")]
)
def test_bad_arguments(frames, every, message):
    with pytest.raises(ValueError, match=message):
        OverlayCallback(np.zeros(frames, np.uint8), np.zeros((2, 8, 8), np.uint8), np.zeros(256, bool), every)
