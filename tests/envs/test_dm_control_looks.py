"""How dm_control's scenes are shown: colors, videos, cameras, and the contexts that environments share."""

import gc
import threading

import numpy as np
import pytest

from camal_rl.envs.counterfactual import IDENTITY
from camal_rl.envs.dm_control import shared
from tests.envs.dm_control_plays import check_identity, single, started
from tests.envs.gl import needs_dm_control

pytestmark = needs_dm_control


@pytest.mark.parametrize("appearance", ["color_easy", "color_hard", "video_easy", "video_hard"])
def test_appearances_change_what_they_say_and_no_label(appearance):
    original, image, labels = started("walker-walk")
    env, shown, same = started("walker-walk", appearance=appearance)
    np.testing.assert_array_equal(labels, same)
    changed = {
        name: (image != shown).any(axis=2)[labels == label] for label, name in enumerate(env.segmentation_spec.names)
    }
    painted = {"video_easy": ["background"], "video_hard": ["background", "ground"]}.get(appearance, list(changed))
    for name, pixels in changed.items():
        assert (pixels.mean() > 0.9) if name in painted else not pixels.any(), name
    check_identity(env)
    again, other = started("walker-walk", appearance=appearance)[1], started("walker-walk", 4, appearance=appearance)[1]
    np.testing.assert_array_equal(shown, again)
    assert (other != shown).any()
    original.close()
    env.close()


def test_a_moving_camera_moves_picture_and_labels_together():
    env, image, labels = started("reacher-easy", camera="moving")
    still = started("reacher-easy")[2]
    assert (labels != still).any()
    arms = image[labels == env.segmentation_spec.names.index("target")]
    assert (arms[:, 0] > arms[:, 2]).all(), "the target is red wherever the camera shows it"
    check_identity(env)
    env.close()


def test_environments_of_one_process_share_a_renderer_and_keep_their_colors():
    gc.collect()
    before = len(shared._MADE)
    plays = [started("walker-walk", level, size=60, appearance="color_hard") for level in (1, 2)]
    assert len(shared._MADE) == before + 1
    assert (plays[0][1] != plays[1][1]).any()
    for _ in range(2):
        for env, image, _ in plays:
            np.testing.assert_array_equal(env.redraw(IDENTITY)[1], image)
    for env, *_ in plays:
        env.close()


def test_the_last_environment_frees_the_context_closed_or_not():
    shared.close_all()
    shared._USERS.clear()
    first, second = single("cartpole-swingup"), single("cartpole-swingup")
    for env in (first, second):
        env.reset(seed=0)
    first.close()
    first.close()
    assert len(shared._MADE) == 1
    del second, env
    gc.collect()
    assert not shared._MADE
    for _ in range(20):
        env = single("cartpole-swingup")
        env.reset(seed=0)
        env.close()
    assert not shared._MADE
    assert not shared._USERS


def test_a_thread_of_its_own_draws_the_same():
    env, image, _ = started("cartpole-swingup")
    found = []
    thread = threading.Thread(target=lambda: found.append(env.redraw(IDENTITY)[1]))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0], image)
    env.close()
