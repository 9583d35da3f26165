"""Detects non-finite numbers in training, names their probable cause, and saves data to reproduce them."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from camal_rl.agents.rollout_buffer import CamalRolloutSamples
from camal_rl.envs.guarded_env import MalformedError
from camal_rl.failures import DivergedError, NotFiniteError, blame, check_amount, check_fits_memory, read_evidence
from camal_rl.module_state import copied_state, non_finite_parameter

if TYPE_CHECKING:
    from camal_rl.agents.image_ppo import ImagePPO
    from camal_rl.agents.ppo_with_terms import PPOWithTerms

# Values above these are unusual: several times those in papers.
_ORDINARY = {
    "learning_rate": 1e-2,
    "clip_range": 1.0,
    "ent_coef": 1.0,
    "vf_coef": 10.0,
    "max_grad_norm": 100.0,
}
_ORDINARY_WEIGHT = 10.0
_ORDINARY_RETURN = 1e4
_ARRAYS = ("rewards", "values", "log_probs", "advantages", "returns")
_LEAST_EPSILON = 1e-30
_PROGRESS = (0.0, 0.5, 1.0)


class Watched(Protocol):
    """An SB3 algorithm whose numbers are checked: PPO with auxiliary terms, DQN.

    Attributes:
        loss_settings: names of attributes with coefficients and ranges of its loss, which are numbers or functions of
            the remaining progress.
        auxiliary_terms: auxiliary terms of its loss.
    """

    loss_settings: ClassVar[tuple[str, ...]]
    num_timesteps: int
    policy: Any
    lr_schedule: Any
    observation_space: Any
    _current_progress_remaining: float
    _last_obs: Any

    @property
    def auxiliary_terms(self) -> Sequence[Any]:
        """Auxiliary terms of its loss."""

    def largest_return(self) -> float:
        """Return the largest magnitude of the returns or rewards that it learns from."""


def check_settings(model: ImagePPO) -> None:
    """Raise a ValueError or TypeError that names a setting with an invalid value, including NaN and infinity."""
    for name in ("n_steps", "batch_size", "n_epochs"):
        value = getattr(model, name)
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name in ("ent_coef", "vf_coef", "max_grad_norm"):
        check_amount(name, getattr(model, name))
    for name in ("gamma", "gae_lambda"):
        check_amount(name, getattr(model, name), high=1.0)
    for name in ("learning_rate", "clip_range", "clip_range_vf", "target_kl"):
        value = getattr(model, name)
        if value is None:
            continue
        for progress in _PROGRESS:
            check_amount(name, value(progress) if callable(value) else value)
    for term in model.auxiliary_terms:
        check_amount(f"{term.name}.weight", term.config.weight)
        for progress in _PROGRESS:
            check_amount(f"the weight of term {term.name!r} at progress {progress:g}", term.weight_at(progress))


def check_optimizer(model: Watched) -> None:
    """Raise a ValueError for an epsilon that is 0 in float32: Adam would divide 0 by 0 for a gradient of 0."""
    if "eps" in model.policy.optimizer.defaults:
        check_amount("eps of the optimizer", model.policy.optimizer.defaults["eps"], low=_LEAST_EPSILON)


def check_rollout_size(model: ImagePPO) -> None:
    """Raise a ValueError if the observations of a rollout do not fit into memory."""
    space, device = model.observation_space, torch.device(model.device)
    if space is None or space.shape is None or space.dtype is None or not isinstance(model.n_steps, int):
        return
    size = model.n_steps * model.n_envs * int(np.prod(space.shape, dtype=object)) * space.dtype.itemsize
    memory = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else None
    what = f"a rollout of {model.n_steps:,} steps of {model.n_envs:,} environments"
    check_fits_memory(what, size, "lower n_steps or the number of environments", memory)


@contextmanager
def watching(model: Watched) -> Iterator[None]:
    """Turn numerical errors in a rollout, or in SB3's own update, into a :class:`DivergedError`."""
    try:
        yield
    except NotFiniteError as error:
        raise environment_error(model, error.what, str(error)) from error
    except (ValueError, RuntimeError) as error:
        if not from_distributions(error):
            raise
        if isinstance(model._last_obs, np.ndarray):
            check_observations(model, model._last_obs)
        raise diverged(model, "the policy's output", "distribution of actions") from error


def from_distributions(error: BaseException) -> bool:
    """Return whether torch refused the parameters of a distribution, since the network returned NaN or infinity."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).startswith("torch.distributions")


def environment_error(model: Watched, what: str, message: str) -> DivergedError:
    """Return the error for an environment that returned NaN or infinity."""
    return DivergedError(model.num_timesteps, f"the {what}", message, "fix the environment", evidence=_state(model))


def check_step(
    model: Watched, observations: npt.NDArray[Any], rewards: npt.NDArray[Any], dones: npt.NDArray[Any]
) -> None:
    """Raise a :class:`DivergedError` or a MalformedError unless rewards and observations are finite numbers."""
    check_observations(model, observations)
    for name, array in (("rewards", rewards), ("dones", dones)):
        if array.dtype == object:
            raise MalformedError(f"step() returned {name} that are not numbers: {array!r}")
    # The buffer stores float32, in which 1e300 is infinite.
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.asarray(rewards, dtype=np.float32))
    if not finite.all():
        index = int(np.argmin(finite))
        raise environment_error(model, "reward", f"{rewards[index]} of environment {index}")


def check_observations(model: Watched, array: npt.NDArray[Any]) -> None:
    """Raise unless observations are finite, and uint8 if the space is, since they would be truncated otherwise.

    Raises:
        MalformedError: the type differs from the space.
        DivergedError: NaN or infinity.
    """
    if model.observation_space.dtype == np.uint8 and array.dtype != np.uint8:
        raise MalformedError(
            f"the environment returned observations of {array.dtype}, but the observation space has uint8: values in "
            "[0, 1] would be truncated to black; return np.round(255 * image).astype(np.uint8)"
        )
    if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
        index = int(np.argmin(np.isfinite(array).reshape(len(array), -1).all(axis=1)))
        raise environment_error(model, "observation", f"of environment {index}")


def check_rollout(model: ImagePPO) -> None:
    """Raise a :class:`DivergedError` unless rewards, values, log-probabilities, advantages and returns are finite."""
    for name in _ARRAYS:
        array = getattr(model.rollout_buffer, name)
        if not np.isfinite(array).all():
            raise diverged(model, "the rollout", name)


def check_parameters(model: Watched) -> None:
    """Raise a :class:`DivergedError` unless every parameter is finite: one comparison after an update."""
    bad = non_finite_parameter(model.policy)
    if bad is not None:
        raise diverged(model, "a parameter", bad)


def check_gradients(
    model: ImagePPO, loss: Tensor, norms: list[Tensor], batch: CamalRolloutSamples, records: Mapping[str, Any]
) -> None:
    """Raise a :class:`DivergedError` unless a minibatch's loss and gradients are finite; waits for the GPU once."""
    if bool(torch.stack([loss.detach().float(), *(norm.float() for norm in norms)]).isfinite().all()):
        return
    latest = {name: values[-1] for name, values in records.items() if values and name != "train/loss"}
    bad = [name.removeprefix("train/") for name, value in latest.items() if not bool(value.isfinite())]
    what = "the gradient" if bool(loss.isfinite()) else "the loss"
    raise diverged(model, what, bad[0] if bad else _largest(model, latest), batch)


def _largest(model: ImagePPO, latest: Mapping[str, Tensor]) -> str:
    """Return the largest term of a finite loss, whose gradient is most likely to be non-finite."""
    shares = {
        "policy_gradient_loss": 1.0 * latest["train/policy_gradient_loss"],
        "entropy_loss": model.ent_coef * latest["train/entropy_loss"],
        "value_loss": model.vf_coef * latest["train/value_loss"],
    }
    shares.update(
        {
            f"{term.name}/loss": term.config.weight * latest[f"{term.name}/loss"]
            for term in model.auxiliary_terms
            if f"{term.name}/loss" in latest
        }
    )
    return max(shares, key=lambda name: abs(float(shares[name])))


def diverged(model: Watched, what: str, term: str, batch: Any = None) -> DivergedError:
    """Return the error for NaN or infinity in training.

    Args:
        model: the model.
        what: the non-finite quantity, such as ``the loss``.
        term: the part that is non-finite.
        batch: the minibatch of the step, a NamedTuple with ``columns``; ``None`` if there is none.
    """
    return DivergedError(model.num_timesteps, what, term, _advice(model), evidence=_state(model, batch))


def _advice(model: Watched) -> str:
    settings = {name: (value, _ORDINARY[name]) for name, value in _settings(model).items() if name in _ORDINARY}
    for term in model.auxiliary_terms:
        settings[f"{term.name}.weight"] = (float(term.config.weight), _ORDINARY_WEIGHT)
    largest = model.largest_return()
    if largest > _ORDINARY_RETURN:
        return blame(settings, f"returns up to {largest:g} are the most likely cause: normalize rewards")
    return blame(settings)


def _settings(model: Watched) -> dict[str, Any]:
    """Return the current values of the settings of a model's loss."""
    remaining = model._current_progress_remaining
    found: dict[str, Any] = {"learning_rate": float(model.lr_schedule(remaining))}
    for name in model.loss_settings:
        value = getattr(model, name)
        found[name] = None if value is None else float(value(remaining) if callable(value) else value)
    return found


def _state(model: Watched, batch: Any = None) -> dict[str, Any]:
    """Return plain tensors, numbers and texts: parameters before the step, the minibatch, settings."""
    settings = {
        **_settings(model),
        **{f"{term.name}.weight": float(term.config.weight) for term in model.auxiliary_terms},
    }
    minibatch: dict[str, Any] = {}
    if batch is not None:
        given = {name: value for name, value in batch._asdict().items() if value is not None}
        columns = given.pop("columns")
        minibatch = {name: value.detach().cpu().clone() for name, value in given.items()}
        minibatch["columns"] = {name: column.detach().cpu().clone() for name, column in columns.items()}
    else:
        last = model._last_obs
        minibatch = {"last_observations": torch.as_tensor(last)} if isinstance(last, np.ndarray) else {}
    return {
        "policy": copied_state(model.policy),
        "progress": 1.0 - model._current_progress_remaining,
        "settings": settings,
        "minibatch": minibatch,
    }


def replay(model: PPOWithTerms, path: Path) -> dict[str, float]:
    """Repeat the step of a :class:`DivergedError` from the file that its ``save`` wrote.

    Args:
        model: a model with the same settings; it receives the parameters of the file.
        path: the file.

    Returns:
        ``loss``, ``gradient_norm`` and the terms of the loss, as in that step; only ``policy_output``, NaN, if the
        policy returned no distribution.

    Raises:
        ValueError: the file contains no minibatch: the failure was not in a step of an update.
    """
    found = read_evidence(path, model.device)
    if "observations" not in found["minibatch"]:
        raise ValueError(
            f"{path} contains no minibatch: {found['what']} is not finite ({found['term']}), outside of a step"
        )
    model.policy.load_state_dict(found["policy"])
    model.policy.set_training_mode(True)
    records: dict[str, list[Tensor]] = defaultdict(list)
    settings, batch = found["settings"], CamalRolloutSamples(**found["minibatch"])
    try:
        loss, _ = model._loss(batch, settings["clip_range"], settings["clip_range_vf"], found["progress"], records)
    except ValueError as error:
        if not from_distributions(error):
            raise
        return {"policy_output": float("nan")}
    model.policy.optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.policy.parameters(), settings["max_grad_norm"])
    terms = {name.removeprefix("train/"): float(values[-1]) for name, values in records.items()}
    return {**terms, "loss": float(loss.detach()), "gradient_norm": float(norm)}
