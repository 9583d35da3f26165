"""Networks that several tests of maps use."""

import torch
from torch import nn


def small_cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(45, 6),
        nn.ReLU(),
        nn.Linear(6, 4),
    )
