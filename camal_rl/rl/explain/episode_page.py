"""An HTML episode viewer: frames, maps, classes, and the decision on redrawn frames."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps

from camal_rl.atomic import explained, write_text
from camal_rl.envs import Intervention
from camal_rl.overlays import as_rgb, class_colors, heat_colors
from camal_rl.rl.explain.decision import (
    MAP_TITLES,
    SCORE_TITLES,
    bar_shares,
    flips,
    preferred_words,
    taken_words,
)
from camal_rl.rl.explain.episode import Recording
from camal_rl.rl.explain.what_if import Redrawn
from camal_rl.rl.policy_outputs import PolicyOutputs

_DIGITS = 4


@dataclass(frozen=True)
class PageText:
    """The texts of a page.

    Attributes:
        title: the agent and its environment.
        maps: description of the maps.
        action_names: one for each action.
        notes: further lines, such as reasons for missing parts.
        value: name of the value.
    """

    title: str
    maps: str
    action_names: Sequence[str]
    notes: Sequence[str] = ()
    value: str = "value"


@dataclass(frozen=True)
class Labels:
    """The ground truth of an episode's T frames.

    Attributes:
        maps: label maps ``uint8 (T, H, W)``.
        names: ``names[id]`` is the name of a class.
        relevant: ``bool (256,)``, which classes are relevant.
    """

    maps: npt.NDArray[np.uint8]
    names: Sequence[str]
    relevant: npt.NDArray[np.bool_]


def write_episode_page(
    path: Path,
    recording: Recording,
    outputs: PolicyOutputs,
    labels: Labels | None,
    redrawn: Sequence[Redrawn],
    text: PageText,
) -> None:
    """Write a self-contained page that makes no network requests.

    The file is written atomically and replaces an earlier one; missing folders are created.

    Args:
        path: the file.
        recording: T steps.
        outputs: the policy's outputs for its frames, for the actions that were taken.
        labels: the frames' label maps; ``None`` leaves the classes out.
        redrawn: the simulator's interventions; empty if it has none.
        text: titles and names.

    Raises:
        ValueError: outputs, label maps or action names do not match the recording.
    """
    if len(outputs) != len(recording) or (outputs.actions != recording.actions).any():
        raise ValueError("the outputs must belong to the recording's frames and the actions that were taken")
    if labels is not None and len(labels.maps) != len(recording):
        raise ValueError(f"expected {len(recording)} label maps, one for each frame, got {len(labels.maps)}")
    if len(text.action_names) != outputs.action_scores.shape[1]:
        raise ValueError(f"expected {outputs.action_scores.shape[1]} action names, got {len(text.action_names)}")
    data = _page_data(recording, outputs, labels, redrawn, text)
    environment = Environment(
        loader=PackageLoader("camal_rl.rl.explain"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    scores = SCORE_TITLES[outputs.score_name]
    page = environment.get_template("episode.html.j2").render(text=text, scores=scores, data=htmlsafe_json_dumps(data))
    with explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, page)


def _page_data(
    recording: Recording,
    outputs: PolicyOutputs,
    labels: Labels | None,
    redrawn: Sequence[Redrawn],
    text: PageText,
) -> dict[str, Any]:
    """Return the data for the page's script as plain values; pictures and maps are base64 texts."""
    frames = as_rgb(recording.frames)
    return {
        "size": [frames.shape[2], frames.shape[1]],
        "value": text.value,
        "actions": list(text.action_names),
        "map_titles": {name: MAP_TITLES[name] for name in outputs.maps},
        "heat": base64.b64encode(heat_colors().tobytes()).decode(),
        "taken": None if outputs.gaussians is not None else recording.actions.tolist(),
        "takes": taken_words(outputs, text.action_names),
        "rewards": _rounded(recording.rewards),
        "returns": _rounded(recording.returns),
        "ended": recording.ended,
        "frames": [_png(frame) for frame in frames],
        "answers": _answers(outputs, outputs, text.action_names),
        "classes": None if labels is None else _classes(labels),
        "labels": None if labels is None else [_png(each) for each in labels.maps],
        "interventions": [_intervention(each, frames, outputs, text.action_names) for each in redrawn],
    }


def _answers(outputs: PolicyOutputs, episode: PolicyOutputs, names: Sequence[str]) -> dict[str, Any]:
    maps = {name: _bytes(each) for name, each in outputs.maps.items()}
    grids = {name: [each.shape[2], each.shape[1]] for name, each in outputs.maps.items()}
    return {
        "values": _rounded(outputs.values),
        "prefers": preferred_words(outputs, names),
        "scores": _rounded(outputs.action_scores),
        "shares": _rounded(bar_shares(outputs, episode)),
        "maps": maps,
        "grids": grids,
        "undefined": {name: (~_finite(each)).nonzero()[0].tolist() for name, each in outputs.maps.items()},
    }


def _intervention(
    redrawn: Redrawn, frames: npt.NDArray[np.uint8], episode: PolicyOutputs, names: Sequence[str]
) -> dict[str, Any]:
    """Return an intervention and its changed frames; ``places[t]`` is the index of step t's frame, or -1."""
    places = np.full(len(episode), -1)
    places[redrawn.steps] = np.arange(len(redrawn.steps))
    images = as_rgb(redrawn.images)
    pieces = [_changed_piece(frames[step], image) for step, image in zip(redrawn.steps, images, strict=True)]
    return {
        **_words(redrawn.intervention),
        "places": places.tolist(),
        "pieces": pieces,
        "answers": _answers(redrawn.outputs, episode, names),
        "flips": flips(redrawn.outputs, episode.at(redrawn.steps)).tolist(),
    }


def _words(intervention: Intervention) -> Mapping[str, str]:
    return {
        "name": intervention.name.replace("_", " "),
        "kind": intervention.kind,
        "description": intervention.description,
    }


def _changed_piece(frame: npt.NDArray[np.uint8], image: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Return the bounding box of all changed pixels, as ``x``, ``y`` and a PNG.

    It is one pixel if nothing is changed: an agent that sees only objects does not see a new background.
    """
    changed = (frame != image).any(axis=2)
    if not changed.any():
        changed[0, 0] = True
    rows, columns = changed.any(axis=1).nonzero()[0], changed.any(axis=0).nonzero()[0]
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return {"x": int(left), "y": int(top), "png": _png(image[top:bottom, left:right])}


def _classes(labels: Labels) -> list[dict[str, Any]]:
    """Return the classes that occur, the largest last."""
    counts = np.bincount(labels.maps.ravel(), minlength=256)
    colors = class_colors()
    present = sorted(np.flatnonzero(counts).tolist(), key=lambda label: int(counts[label]))
    return [
        {
            "id": label,
            "name": labels.names[label],
            "color": "#{:02x}{:02x}{:02x}".format(*colors[label].tolist()),
            "relevant": bool(labels.relevant[label]),
        }
        for label in present
    ]


def _finite(maps: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(maps).all(axis=(1, 2)))


def _bytes(maps: npt.NDArray[np.float32]) -> str:
    """Return maps ``(T, h, w)`` in [0, 1] as one byte per cell; non-finite cells become 0."""
    shown = np.where(_finite(maps)[:, None, None], maps, 0)
    return base64.b64encode(np.rint(shown * 255).astype(np.uint8).tobytes()).decode()


def _png(picture: npt.NDArray[np.uint8]) -> str:
    """Return a picture ``uint8 (H, W, 3)`` or ``(H, W)`` as a PNG file in base64."""
    done, data = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)
    if not done:
        raise ValueError(f"OpenCV cannot encode a picture of shape {picture.shape}")
    return base64.b64encode(data.tobytes()).decode()


def _rounded(numbers: npt.NDArray[np.floating]) -> list[Any]:
    """Return finite numbers rounded, and ``None`` for others, which JSON cannot represent."""
    shown = np.round(numbers.astype(np.float64), _DIGITS).astype(object)
    shown[~np.isfinite(numbers)] = None
    return list(shown.tolist())
