"""Small image sets and classifiers with known answers."""

import torch
from torch import nn

from camal_rl.supervised.data.samples import Sample


class Squares:
    """A bright square on noise, left or right of the middle: its place is the class, its pixels are the mask."""

    classes = ("left", "right")
    groups = ("dark", "bright")

    def __init__(self, length=24, masked=None, size=16, seed=0):
        self.length, self.masked, self.size, self.seed = length, masked, size, seed

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if not 0 <= index < self.length:
            raise IndexError(index)
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        image = torch.randint(0, 90, (3, self.size, self.size), generator=generator, dtype=torch.uint8)
        label, group = index % 2, (index // 2) % 2
        mask = torch.zeros(self.size, self.size, dtype=torch.bool)
        left = label * self.size // 2 + 2
        mask[4:8, left : left + 4] = True
        image[:, mask] = 150 + 100 * group
        has_mask = self.masked is None or index in self.masked
        return Sample(image, label, mask & has_mask, has_mask, group)


class PooledNet(nn.Module):
    """Layer -> global average pooling -> linear: the closed form applies to ``features``."""

    cam_layer = "features"

    def __init__(self, classes=2, channels=6, seed=0, dropout=0.0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.features = nn.Sequential(
                nn.Conv2d(3, channels, 3, 2, 1), nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1), nn.ReLU()
            )
            self.dropout = nn.Dropout(dropout)
            self.head = nn.Linear(channels, classes)

    def forward(self, images):
        return self.head(self.dropout(self.features(images).mean(dim=(2, 3))))


class DeepHeadNet(PooledNet):
    """The same with a second layer above the pooling: no closed form."""

    def __init__(self, classes=2, channels=6, seed=0):
        super().__init__(classes, channels, seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed + 1)
            self.extra = nn.Linear(channels, channels)

    def forward(self, images):
        return self.head(torch.tanh(self.extra(self.features(images).mean(dim=(2, 3)))))


class TokenNet(nn.Module):
    """Patches of 4x4 as tokens behind one class token; ``block`` mixes them, the class token is read."""

    cam_layer = "patches"

    def __init__(self, width=8, classes=2):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.embed = nn.Conv2d(3, width, 4, 4)
            self.token = nn.Parameter(torch.randn(1, 1, width))
            self.patches = nn.LayerNorm(width)
            self.block = nn.MultiheadAttention(width, 2, batch_first=True)
            self.last = nn.LayerNorm(width)
            self.head = nn.Linear(width, classes)
            self.unused = nn.Conv2d(3, 2, 1)

    def forward(self, images):
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = self.patches(torch.cat([self.token.expand(len(images), -1, -1), tokens], dim=1))
        self.unused(images)
        mixed, _ = self.block(tokens, tokens, tokens)
        return self.head(self.last(tokens + mixed)[:, 0])
