"""What training takes of an environment besides label maps: pictures, actions, and what reset and step return."""

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
_WANTED = "training takes pictures uint8[H, W, C] or uint8[C, H, W] in Box(0, 255, shape, np.uint8)"


def check_spaces(observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
    """Raise a ValueError for observations that are no plain pictures, or for actions that PPO does not take."""
    remedy = _image_remedy(observations)
    if remedy is not None:
        raise ValueError(f"{_WANTED}, the observation space is {observations}; {remedy}")
    if not isinstance(actions, _ACTIONS):
        kinds = ", ".join(kind.__name__ for kind in _ACTIONS)
        raise ValueError(f"training takes actions of the spaces {kinds}, the action space is {actions}")


def _image_remedy(space: spaces.Space[Any]) -> str | None:
    """Return what makes pictures of a space that has none, or ``None`` if it has."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        images = [key for key, part in parts if len(part.shape or ()) == 3]
        key = repr(images[0] if images else "image")
        return (
            "return the picture alone: gymnasium.wrappers.TransformObservation"
            f"(env, lambda observation: observation[{key}], env.observation_space[{key}])"
        )
    if not isinstance(space, spaces.Box):
        return "draw the state as a picture"
    if len(space.shape) == 2:
        return f"add an axis for the channel: observation[..., None], of shape {(*space.shape, 1)}"
    if len(space.shape) > 3:
        return (
            "put stacked frames side by side in the channels, as camal_rl.envs.wrappers.SegmentedFrameStack does: "
            "(H, W, C * frames)"
        )
    if len(space.shape) < 3:
        return "draw the state as a picture"
    if space.dtype != np.uint8:
        from_one = bool(np.all(space.high <= 1) and np.all(space.low >= 0))
        return f"return {'np.round(255 * image)' if from_one else 'image'}.astype(np.uint8)" + (
            "" if from_one else ", scaled to 0 to 255"
        )
    if np.any(space.low != 0) or np.any(space.high != 255):
        return "its bounds are 0 and 255, whatever occurs in the pictures; scale them to that range"
    return None


def check_reset(result: object, space: spaces.Space[Any]) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Return what ``reset`` returned, if it is a picture of the space and an info.

    Raises:
        ValueError: anything else, with what is wrong about it.
    """
    observation, info = parts_of_reset(result)
    return check_image(observation, space, "reset()"), check_info(info, "reset()")


def parts_of_reset(result: object) -> tuple[Any, Any]:
    """Return the two things that ``reset`` returned; a ValueError says that they are others."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise ValueError(f"reset() returns observation, info, got {_kind(result)}")
    return result


def check_step(result: object, space: spaces.Space[Any]) -> tuple[npt.NDArray[Any], float, bool, bool, dict[str, Any]]:
    """Return what ``step`` returned, if it is a picture of the space, a finite reward, two flags and an info.

    Raises:
        ValueError: anything else, with what is wrong about it.
    """
    observation, reward, terminated, truncated, info = parts_of_step(result)
    picture = check_image(observation, space, "step()")
    number = check_reward(reward)
    flags = check_flag("terminated", terminated), check_flag("truncated", truncated)
    return picture, number, *flags, check_info(info, "step()")


def parts_of_step(result: object) -> tuple[Any, Any, Any, Any, Any]:
    """Return the five things that ``step`` returned; a ValueError says that they are others."""
    if not isinstance(result, tuple) or len(result) != 5:
        raise ValueError(f"step() returns observation, reward, terminated, truncated, info, got {_kind(result)}")
    return result


def check_reward(reward: object) -> float:
    """Return a reward if it is a number that float32 can hold.

    Raises:
        ValueError: no number.
        NotFiniteError: NaN, infinity, or larger than float32's largest number.
    """
    if isinstance(reward, np.ndarray) and reward.shape == ():
        reward = reward.item()
    if not isinstance(reward, (int, float, np.integer, np.floating, np.bool_)):
        raise ValueError(f"step() returns the reward as a number, got {reward!r}; float(reward) makes one")
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
    """Return a flag of ``step``; a ValueError says that it is neither true nor false."""
    if not isinstance(flag, (bool, np.bool_)):
        raise ValueError(f"step() returns {name} as True or False, got {flag!r}; bool({name}) makes one")
    return bool(flag)


def check_image(observation: object, space: spaces.Space[Any], call: str) -> npt.NDArray[Any]:
    """Return an observation if it is a picture of a space.

    Raises:
        ValueError: no array, or another dtype or shape.
    """
    if not isinstance(observation, np.ndarray):
        raise ValueError(f"{call} returns observations as NumPy arrays, got {_kind(observation)}")
    if observation.dtype != space.dtype:
        raise ValueError(
            f"{call} returned an observation of {observation.dtype} where the observation space has {space.dtype}: "
            "values in [0, 1] would be cut to black; return np.round(255 * image).astype(np.uint8)"
        )
    if observation.shape != space.shape:
        raise ValueError(
            f"{call} returned an observation of shape {observation.shape}, the observation space has {space.shape}; "
            "make them the same"
        )
    return observation


def check_vec_step(result: object, num_envs: int, space: spaces.Space[Any]) -> tuple[Any, npt.NDArray[np.bool_]]:
    """Return observations and dones of a vectorized ``step``, if they, the rewards and the infos are as SB3 has them.

    Raises:
        ValueError: anything else, with what is wrong about it.
    """
    if not isinstance(result, tuple) or len(result) != 4:
        raise ValueError(f"a VecEnv's step() returns observations, rewards, dones, infos, got {_kind(result)}")
    observations, rewards, dones, infos = result
    check_image_batch(observations, num_envs, space, "step()")
    if not isinstance(rewards, np.ndarray) or rewards.shape != (num_envs,) or not np.isfinite(rewards).all():
        raise ValueError(f"step() returns {num_envs} finite rewards, one for each environment, got {rewards!r}")
    if not isinstance(dones, np.ndarray) or dones.shape != (num_envs,) or dones.dtype != np.bool_:
        raise ValueError(f"step() returns {num_envs} dones, True or False for each environment, got {dones!r}")
    if len(infos) != num_envs or not all(isinstance(info, dict) for info in infos):
        raise ValueError(f"step() returns {num_envs} infos, a dictionary for each environment, got {_kind(infos)}")
    return observations, dones


def check_stacked_step(
    observations: Any, rewards: npt.NDArray[Any], dones: npt.NDArray[Any], space: spaces.Space[Any]
) -> None:
    """Check what worker processes gave, as it is before SB3 casts it.

    Raises:
        ValueError: images that are not uint8 where the space is, rewards that are no numbers, dones that are no flags.
        NotFiniteError: a reward that is NaN or infinite in float32.
    """
    if isinstance(observations, np.ndarray) and space.dtype == np.uint8:
        check_image(observations[0], space, "step()")
    for reward in rewards:
        check_reward(reward)
    if dones.dtype != np.bool_:
        raise ValueError(f"step() returns terminated and truncated as True or False, got {dones!r}")


def check_image_batch(observations: object, num_envs: int, space: spaces.Space[Any], call: str) -> npt.NDArray[Any]:
    """Return a vectorized environment's observations, if they are as many pictures of the space.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(observations, np.ndarray) or len(observations) != num_envs:
        raise ValueError(f"{call} returns {num_envs} observations in one array, got {_kind(observations)}")
    for observation in observations:
        check_image(observation, space, call)
    return observations


def check_info(info: object, call: str) -> dict[str, Any]:
    """Return an info; a ValueError says that it is no dictionary."""
    if not isinstance(info, dict):
        raise ValueError(f"{call} returns info as a dictionary, got {_kind(info)}")
    return info


def _kind(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, gymnasium.Env):
        return "an environment"
    return repr(value) if value is None else type(value).__name__
