"""Claim: four file formats of a model give the same outputs; safetensors cannot run code and loads as fast as a zip.

An IMPALA CAMAL agent (float32, after one update on the toy grid) and a classifier (a ResNet) are written as
safetensors, as the zip of Stable-Baselines3 (agents only), as ``.pt2`` and as ONNX. Every file is loaded again and
evaluated on the same random frames. The table gives three numbers per format:

* difference: the largest over logits and values, divided by the largest output;
* size: divided by the size of the raw float32 weights;
* time to load: divided by that of safetensors. It is the median of several loads in turns in one process, without
  imports.

    python benchmarks/model_files.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnx.reference import ReferenceEvaluator
from safetensors.torch import load_model
from torch import nn

from camal_rl.agents import CAMALPPO, CamPolicy
from camal_rl.envs import make_vec
from camal_rl.rl import load_policy, save_policy
from camal_rl.rl.export import export_policy
from camal_rl.runs.provenance import program_provenance
from camal_rl.supervised.export import export_classifier
from camal_rl.supervised.models import build_model
from camal_rl.supervised.training import save_classifier

SIDE, BATCH, CLASSES = 64, 50, 10
Frames = npt.NDArray[np.uint8]
Answer = Callable[[Frames], npt.NDArray[np.float32]]


@dataclass(frozen=True)
class File:
    """A model in one format: its files, and a function that loads them as a function from frames to outputs."""

    paths: tuple[Path, ...]
    load: Callable[[], Answer]


def frames_of(count: int) -> Iterator[Frames]:
    """Yield ``count`` random frames in batches."""
    generator = np.random.default_rng(0)
    for _ in range(count // BATCH):
        yield generator.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)


def policy_answer(policy: CamPolicy) -> Answer:
    """Return a function that gives a policy's logits (normalized, as in SB3) and values, concatenated."""

    def answer(frames: Frames) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            images = policy.obs_to_tensor(frames)[0]
            logits = policy.get_distribution(images).distribution.logits
            return torch.cat([logits, policy.predict_values(images)], 1).numpy()

    return answer


def program_answer(path: Path, outputs: tuple[str, ...], normalized: bool) -> Answer:
    """Return a function that gives the outputs of an exported program, concatenated."""
    if path.suffix == ".onnx":
        session = ReferenceEvaluator(str(path))
        run: Callable[[Frames], list[Any]] = lambda frames: session.run(list(outputs), {"images": frames})  # noqa: E731
    else:
        network = torch.export.load(path).module()

        def run(frames: Frames) -> list[Any]:
            with torch.no_grad():
                found = network(torch.from_numpy(frames))
            return [found[name].numpy() for name in outputs]

    def answer(frames: Frames) -> npt.NDArray[np.float32]:
        logits, *rest = (torch.as_tensor(each) for each in run(frames))
        return torch.cat([logits.log_softmax(1) if normalized else logits, *rest], 1).numpy()

    return answer


def agent_files(folder: Path) -> tuple[Answer, int, dict[str, File]]:
    """Write an agent in every format; return its own outputs, the bytes of its weights, and the files."""
    kwargs = {"encoder": "impala", "precision": "float32"}
    env = make_vec("toy_grid/default", 8, seed=0)
    model = CAMALPPO("CamPolicy", env, policy_kwargs=kwargs, n_steps=16, batch_size=64, n_epochs=1, device="cpu")
    model.learn(128)
    policy = model.policy.cpu()
    policy.set_training_mode(False)
    description = save_policy(model, folder, "agent")
    zipped, program, onnx = folder / "agent.zip", folder / "agent.pt2", folder / "agent.onnx"
    model.save(zipped)
    export_policy(policy, program, "pt2")
    export_policy(policy, onnx, "onnx")
    outputs = ("logits", "value")
    pair = (folder / "agent.safetensors", description)
    return (
        policy_answer(policy),
        _weight_bytes(policy),
        {
            "safetensors": File(pair, lambda: policy_answer(load_policy(description, "cpu"))),
            "SB3 zip": File((zipped,), lambda: policy_answer(CAMALPPO.load(zipped, device="cpu").policy)),
            "pt2": File((program,), lambda: program_answer(program, outputs, True)),
            "ONNX": File((onnx,), lambda: program_answer(onnx, outputs, True)),
        },
    )


def classifier_files(folder: Path) -> tuple[Answer, int, dict[str, File]]:
    """Write a classifier in every format that classifiers have; returns as :func:`agent_files`."""
    torch.manual_seed(0)
    model = build_model("resnet", CLASSES, SIDE).eval()
    weights, program, onnx = (folder / f"classifier.{each}" for each in ("safetensors", "pt2", "onnx"))
    save_classifier(model, weights)
    export_classifier(model, SIDE, program, "pt2")
    export_classifier(model, SIDE, onnx, "onnx")

    def loaded() -> Answer:
        again = build_model("resnet", CLASSES, SIDE)
        load_model(again, str(weights))
        return classifier_answer(again.eval())

    return (
        classifier_answer(model),
        _weight_bytes(model),
        {
            "safetensors": File((weights,), loaded),
            "pt2": File((program,), lambda: program_answer(program, ("logits",), False)),
            "ONNX": File((onnx,), lambda: program_answer(onnx, ("logits",), False)),
        },
    )


def classifier_answer(model: nn.Module) -> Answer:
    """Return a function that gives a classifier's logits."""

    def answer(frames: Frames) -> npt.NDArray[np.float32]:
        with torch.no_grad():
            return model(torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255).numpy()

    return answer


def _weight_bytes(network: nn.Module) -> int:
    """Return the size of the weights in bytes; shared weights count once."""
    return sum(each.numel() * each.element_size() for each in [*network.parameters(), *network.buffers()])


def compare(own: Answer, raw: int, files: dict[str, File], count: int, rounds: int) -> dict[str, Any]:
    """Return difference, size and time to load of every format."""
    seconds: dict[str, list[float]] = {name: [] for name in files}
    answers: dict[str, Answer] = {}
    for _ in range(rounds + 1):
        for name, file in files.items():
            started = time.perf_counter()
            answers[name] = file.load()
            seconds[name].append(time.perf_counter() - started)
    largest, scale = dict.fromkeys(files, 0.0), 1.0
    for frames in frames_of(count):
        expected = own(frames)
        scale = max(scale, float(np.abs(expected).max()))
        for name, answer in answers.items():
            largest[name] = max(largest[name], float(np.abs(answer(frames) - expected).max()))
    # The first load of each format also imports modules.
    times = {name: statistics.median(each[1:]) for name, each in seconds.items()}
    return {
        name: {
            "difference": largest[name] / scale,
            "bytes": (size := sum(path.stat().st_size for path in file.paths)),
            "size_ratio": size / raw,
            "seconds": times[name],
            "load_ratio": times[name] / times["safetensors"],
        }
        for name, file in files.items()
    }


def main() -> None:
    """Write, load, compare, print the table and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "model_files.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("IMPALA CAMAL agent", agent_files), ("ResNet classifier", classifier_files)):
            own, raw, files = write(Path(folder))
            found[name] = compare(own, raw, files, arguments.frames, arguments.rounds)
            print(f"{name}: {raw / 2**20:.2f} MiB of weights, {arguments.frames} frames")
            for kind, row in found[name].items():
                print(
                    f"  {kind:12} differs by {row['difference']:.1g}, {row['size_ratio']:.2f} times the weights, "
                    f"loads in {row['load_ratio']:.2f} times safetensors' time ({1000 * row['seconds']:.0f} ms)"
                )
    result = {**program_provenance(), "frames": arguments.frames, "models": found}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
