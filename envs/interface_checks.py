"""Checks of an environment's spaces and of what ``reset`` and ``step`` return; label maps are checked elsewhere."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from camal_rl.failures import NotFiniteError

_LARGEST = float(np.finfo(np.float32).max)
_ACTIONS = (spaces.Discrete, spaces.Box, spaces.MultiDiscrete, spaces.MultiBinary)
_WANTED = "observations must be images uint8[H, W, C] or uint8[C, H, W] in Box(0, 255, shape, np.uint8)"


def check_spaces(observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
    """Raise a ValueError if observations are not plain images, or if PPO does not support the action space."""
    remedy = _image_remedy(observations)
    if remedy is not None:
        raise ValueError(f"{_WANTED}, got the observation space {observations}; {remedy}")
    if not isinstance(actions, _ACTIONS):
        kinds = ", ".join(kind.__name__ for kind in _ACTIONS)
        raise ValueError(f"the action space must be one of {kinds}, got {actions}")


def _image_remedy(space: spaces.Space[Any]) -> str | None:
    """Return how to turn a space's observations into images, or ``None`` if they are images."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        images = [key for key, part in parts if len(part.shape or ()) == 3]
        key = repr(images[0] if images else "image")
        return (
            "return only the image: gymnasium.wrappers.TransformObservation"
            f"(env, lambda observation: observation[{key}], env.observation_space[{key}])"
        )
    if not isinstance(space, spaces.Box):
        return "render the state as an image"
    if len(space.shape) == 2:
        return f"add an axis for the channel: observation[..., None], of shape {(*space.shape, 1)}"
    if len(space.shape) > 3:
        return (
            "concatenate stacked frames along the channels, as camal_rl.envs.wrappers.SegmentedFrameStack does: "
            "(H, W, C * frames)"
        )
    if len(space.shape) < 3:
        return "render the state as an image"
    if space.dtype != np.uint8:
        from_one = bool(np.all(space.high <= 1) and np.all(space.low >= 0))
        return f"return {'np.round(255 * image)' if from_one else 'image'}.astype(np.uint8)" + (
            "" if from_one else ", scaled to 0 to 255"
        )
    if np.any(space.low != 0) or np.any(space.high != 255):
        return "the bounds must be 0 and 255, whatever values occur; scale the images to that range"
    return None


def check_reset(result: object, space: spaces.Space[Any]) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Check that ``reset`` returned an image of the space and an info, and return both.

    Raises:
        ValueError: one of them is malformed; the message says how.
    """
    observation, info = parts_of_reset(result)
    return check_image(observation, space, "reset()"), check_info(info, "reset()")


def parts_of_reset(result: object) -> tuple[Any, Any]:
    """Return the observation and the info that ``reset`` returned; anything else is a ValueError."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(f"reset() must return observation, info, got {_kind(result)}")
    return result


def check_step(result: object, space: spaces.Space[Any]) -> tuple[npt.NDArray[Any], float, bool, bool, dict[str, Any]]:
    """Check that ``step`` returned an image of the space, a finite reward, two flags and an info, and return them.

    Raises:
        ValueError: one of them is malformed; the message says how.
        NotFiniteError: the reward is NaN or infinite in float32.
    """
    observation, reward, terminated, truncated, info = parts_of_step(result)
    picture = check_image(observation, space, "step()")
    number = check_reward(reward)
    flags = check_flag("terminated", terminated), check_flag("truncated", truncated)
    return picture, number, *flags, check_info(info, "step()")


def parts_of_step(result: object) -> tuple[Any, Any, Any, Any, Any]:
    """Return the five values that ``step`` returned; anything else is a ValueError."""
    if not isinstance(result, tuple) or len(result) != 5:
        raise ValueError(f"step() must return observation, reward, terminated, truncated, info, got {_kind(result)}")
    return result


def check_reward(reward: object) -> float:
    """Return a reward as a float.

    Raises:
        ValueError: not a number.
        NotFiniteError: NaN, or infinite in float32.
    """
    if isinstance(reward, np.ndarray) and reward.shape == ():
        reward = reward.item()
    if not isinstance(reward, (int, float, np.integer, np.floating, np.bool_)):
        raise ValueError(f"the reward from step() must be a number, got {reward!r}; convert it with float(reward)")
    try:
        number = float(reward)
    except OverflowError:
        number = math.inf
    if not abs(number) <= _LARGEST:
        raise NotFiniteError(
            "reward", f"step() returned the reward {reward}; one such reward makes every weight of the policy NaN"
        )
    return number


def check_flag(name: str, flag: object) -> bool:
    """Return a flag of ``step``; anything but a bool is a ValueError."""
    if not isinstance(flag, (bool, np.bool_)):
        raise ValueError(f"{name} from step() must be True or False, got {flag!r}; convert it with bool({name})")
    return bool(flag)


def check_image(observation: object, space: spaces.Space[Any], call: str) -> npt.NDArray[Any]:
    """Return an observation after checking that it is an image of a space.

    Raises:
        ValueError: not an array, or the wrong dtype or shape.
    """
    if not isinstance(observation, np.ndarray):
        raise ValueError(f"observations from {call} must be NumPy arrays, got {_kind(observation)}")
    if observation.dtype != space.dtype:
        raise ValueError(
            f"{call} returned an observation of {observation.dtype}, but the observation space has {space.dtype}: "
            "values in [0, 1] would become black; return np.round(255 * image).astype(np.uint8)"
        )
    if observation.shape != space.shape:
        raise ValueError(
            f"{call} returned an observation of shape {observation.shape}, but the observation space has "
            f"{space.shape}; make them the same"
        )
    return observation


def check_vec_step(result: object, num_envs: int, space: spaces.Space[Any]) -> tuple[Any, npt.NDArray[np.bool_]]:
    """Check what a vectorized ``step`` returned, and return the observations and dones.

    Raises:
        ValueError: observations, rewards, dones or infos are malformed; the message says how.
    """
    if not isinstance(result, tuple) or len(result) != 4:
        raise ValueError(f"a VecEnv's step() must return observations, rewards, dones, infos, got {_kind(result)}")
    observations, rewards, dones, infos = result
    check_image_batch(observations, num_envs, space, "step()")
    if not isinstance(rewards, np.ndarray) or rewards.shape != (num_envs,) or not np.isfinite(rewards).all():
        raise ValueError(f"step() must return {num_envs} finite rewards, one for each environment, got {rewards!r}")
    if not isinstance(dones, np.ndarray) or dones.shape != (num_envs,) or dones.dtype != np.bool_:
        raise ValueError(f"step() must return {num_envs} dones, True or False for each environment, got {dones!r}")
    if len(infos) != num_envs or not all(isinstance(info, dict) for info in infos):
        raise ValueError(f"step() must return {num_envs} infos, a dictionary for each environment, got {_kind(infos)}")
    return observations, dones


def check_stacked_step(
    observations: Any, rewards: npt.NDArray[Any], dones: npt.NDArray[Any], space: spaces.Space[Any]
) -> None:
    """Check the results of worker processes before SB3 casts them.

    Raises:
        ValueError: images that do not match a uint8 space, rewards that are not numbers, or dones that are not bools.
        NotFiniteError: a reward is NaN or infinite in float32.
    """
    if isinstance(observations, np.ndarray) and space.dtype == np.uint8:
        check_image(observations[0], space, "step()")
    for reward in rewards:
        check_reward(reward)
    if dones.dtype != np.bool_:
        raise ValueError(f"terminated and truncated from step() must be True or False, got {dones!r}")


def check_image_batch(observations: object, num_envs: int, space: spaces.Space[Any], call: str) -> npt.NDArray[Any]:
    """Return a vectorized environment's observations after checking that they are ``num_envs`` images of the space.

    Raises:
        ValueError: they are not.
    """
    if not isinstance(observations, np.ndarray) or len(observations) != num_envs:
        raise ValueError(f"{call} must return {num_envs} observations in one array, got {_kind(observations)}")
    for observation in observations:
        check_image(observation, space, call)
    return observations


def check_info(info: object, call: str) -> dict[str, Any]:
    """Return an info; anything but a dictionary is a ValueError."""
    if not isinstance(info, dict):
        raise ValueError(f"the info from {call} must be a dictionary, got {_kind(info)}")
    return info


def _kind(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, gymnasium.Env):
        return "an environment"
    return repr(value) if value is None else type(value).__name__
