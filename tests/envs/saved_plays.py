"""Plays that are compared with plays from a saved state, also in a process of its own."""

import hashlib
import json
import sys

import numpy as np
from gymnasium import spaces

from camal_rl.envs import make_vec
from camal_rl.envs.saved_states import restore_env, save_env, saved_env
from camal_rl.envs.segmentation import find_segmented
from camal_rl.state_tree import pack, unpack
from tests.envs.actions import drawn_actions


def actions_of(venv, steps, seed=0):
    """Return random actions ``[steps, num_envs, ...]``."""
    rng, space = np.random.default_rng(seed), venv.action_space
    if isinstance(space, spaces.Discrete):
        return rng.integers(space.n, size=(steps, venv.num_envs))
    return np.stack([drawn_actions(space, venv.num_envs, rng) for _ in range(steps)])


def play(venv, actions):
    """Return everything that each step gives, but for what clocks say."""
    segmented = find_segmented(venv)
    masks = segmented is not None and segmented.has_segmentation
    told = []
    for action in actions:
        observations, rewards, dones, infos = venv.step(action)
        labels = segmented.segmentation() if masks else None
        told.append((np.array(observations), rewards.copy(), dones.copy(), labels, [timeless(each) for each in infos]))
    return told


def timeless(info):
    """Return an info without the seconds that an episode took."""
    cut = {key: value for key, value in info.items() if key != "episode"}
    return {**cut, "episode": {key: info["episode"][key] for key in "rl"}} if "episode" in info else cut


def digest(told):
    """Return a hash of all that a play told."""
    hashed = hashlib.sha256()
    update(hashed, told)
    return hashed.hexdigest()


def update(hashed, value):
    """Add a value with its kind."""
    hashed.update(type(value).__name__.encode())
    if isinstance(value, np.ndarray | np.generic):
        hashed.update(str((value.dtype, value.shape)).encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            hashed.update(str(key).encode())
            update(hashed, value[key])
    elif isinstance(value, list | tuple):
        for each in value:
            update(hashed, each)
    else:
        hashed.update(repr(value).encode())


def first_difference(told, again):
    """Return where two plays differ, for a message, or ``None``."""
    parts = ("observations", "rewards", "dones", "masks", "infos")
    for step, (one, other) in enumerate(zip(told, again, strict=True)):
        for part, left, right in zip(parts, one, other, strict=True):
            if digest(left) != digest(right):
                return f"{part} of step {step}"
    return None


def written_and_read(saved):
    """Return a saved state after its way through a checkpoint."""
    tensors, data = pack(saved.tree)
    return saved_env(unpack(tensors, json.loads(json.dumps(data, allow_nan=False))))


def check_goes_on(make, before, after):
    """Save after ``before`` steps, play ``after`` more, and again from the state in an environment made anew."""
    venv = make()
    try:
        venv.reset()
        actions = actions_of(venv, before + after)
        play(venv, actions[:before])
        saved = save_env(venv)
        assert saved.exact, saved.why_inexact
        segmented = find_segmented(venv)
        masks = segmented.segmentation() if segmented is not None and segmented.has_segmentation else None
        told = play(venv, actions[before:])
    finally:
        venv.close()
    other = make()
    try:
        assert restore_env(other, written_and_read(saved)) is None
        if masks is not None:
            np.testing.assert_array_equal(find_segmented(other).segmentation(), masks)
        assert first_difference(told, play(other, actions[before:])) is None
    finally:
        other.close()
    return told


def main(folder, env_id, options, steps):
    """Go on from a checkpoint and print the play's hash; run as a module with four arguments."""
    from pathlib import Path

    from camal_rl.runs.checkpoints import newest_checkpoint

    venv = make_vec(env_id, 2, 5, **json.loads(options))
    restore_env(venv, saved_env(newest_checkpoint(Path(folder)).parts["env"]))
    print(digest(play(venv, actions_of(venv, int(steps), seed=1))))
    venv.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
