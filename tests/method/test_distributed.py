"""The term in two processes of DistributedDataParallel, as the page "the loss in your own loop" describes it."""

import datetime
import json

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from camal_rl.attention import class_activation_map
from camal_rl.camal_config import CamalConfig
from camal_rl.camal_term import camal_term

CONFIG = CamalConfig(weight=0.5, targets=("value",))
IMAGES = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(8) % 4
EVEN = torch.zeros(8, 4, 4, dtype=torch.bool)
EVEN[:, 1:3, 1:3] = True
UNEVEN = EVEN.clone()
UNEVEN[4:7] = False
ONE_SIDED = EVEN.clone()
ONE_SIDED[4:] = False


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, images):
        features = self.encoder(images)
        return features, self.head(features)


class WithLoss(nn.Module):
    """The loss, computed inside the module that is wrapped."""

    def __init__(self):
        super().__init__()
        self.network = Network()

    def forward(self, images, classes, masks, factor=1.0):
        return loss_of(*self.network(images), classes, masks, factor)


def loss_of(features, logits, classes, masks, factor=1.0):
    cam = class_activation_map(features, logits.gather(1, classes[:, None])[:, 0], create_graph=True)
    return functional.cross_entropy(logits, classes) + factor * camal_term({"value": cam}, masks, CONFIG).loss


def difference(network, masks):
    """Return how far gradients are from those of one process with all frames, relative to the largest."""
    alone = Network()
    loss_of(*alone(IMAGES), CLASSES, masks).backward()
    expected = [parameter.grad for parameter in alone.parameters()]
    found = [parameter.grad for parameter in network.parameters()]
    apart = max((one - other).abs().max() for one, other in zip(found, expected, strict=True))
    return float(apart / max(each.abs().max() for each in expected))


def factor_of(masks):
    """Return what a process multiplies its term by: its share of the frames with objects, times the processes."""
    own = masks.flatten(1).any(dim=1).sum().float()
    total = own.clone()
    torch.distributed.all_reduce(total)
    return own * torch.distributed.get_world_size() / total


def work(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        *("gloo", f"file://{folder}/store"), rank=rank, world_size=2, timeout=datetime.timedelta(minutes=4)
    )
    mine = slice(4 * rank, 4 * rank + 4)
    found = {}
    for name, masks in (("even", EVEN), ("uneven", UNEVEN), ("one-sided", ONE_SIDED)):
        network = Network()
        wrapped = DistributedDataParallel(network)
        loss_of(*wrapped(IMAGES[mine]), CLASSES[mine], masks[mine]).backward()
        found[f"{name}, plain"] = difference(network, masks)
        network.zero_grad()
        loss_of(*wrapped(IMAGES[mine]), CLASSES[mine], masks[mine], factor_of(masks[mine])).backward()
        found[f"{name}, with factor"] = difference(network, masks)
    for setting in ("static_graph", "find_unused_parameters"):
        wrapped = DistributedDataParallel(Network(), **{setting: True})
        try:
            loss_of(*wrapped(IMAGES[mine]), CLASSES[mine], EVEN[mine])
            found[f"{setting}, outside"] = "no error"
        except ValueError as error:
            found[f"{setting}, outside"] = str(error)
        inside = WithLoss()
        wrapped = DistributedDataParallel(inside, **{setting: True})
        wrapped(IMAGES[mine], CLASSES[mine], EVEN[mine]).backward()
        found[f"{setting}, inside"] = difference(inside.network, EVEN)
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what the first of two processes found."""
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(work, (folder,), nprocs=2)
    return json.loads((folder / "found.json").read_text())


def test_gradients_are_those_of_one_process_with_the_whole_batch(found):
    assert found["even, plain"] < 1e-4
    assert found["even, with factor"] < 1e-4


@pytest.mark.parametrize("masks", ["uneven", "one-sided"])
def test_with_unequal_numbers_of_frames_with_objects_a_factor_makes_them_so(found, masks):
    assert found[f"{masks}, plain"] > 0.01
    assert found[f"{masks}, with factor"] < 1e-4


@pytest.mark.parametrize("setting", ["static_graph", "find_unused_parameters"])
def test_settings_that_separate_outputs_need_the_loss_inside_the_module(found, setting):
    assert "does not depend on features" in found[f"{setting}, outside"]
    assert found[f"{setting}, inside"] < 1e-4
