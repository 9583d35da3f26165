"""A user's own package, written into a folder outside this repository."""

import textwrap

FILES = {
    "__init__.py": """
        from camal_rl.agents import register_encoder, register_term
        from camal_rl.envs import register_env
        from camal_rl.losses import register_loss
        from camal_rl.rl.algorithms import register_algorithm
        from orchard.algorithms import SLOW_PPO
        from orchard.envs import Catch
        from orchard.losses import peak_outside
        from orchard.metrics import peak_share
        from orchard.nets import Tiny
        from orchard.terms import SmallValues

        register_env("orchard/catch", Catch)
        register_encoder("orchard_tiny")(Tiny)
        register_loss("orchard_peak")(peak_outside)
        register_term("orchard_small")(SmallValues)
        register_algorithm("orchard_slow", SLOW_PPO)
    """,
    "envs.py": '''
        import gymnasium
        import numpy as np


        class Catch(gymnasium.Env):
            """A fruit falls in a column that the level determines; the basket at the bottom moves to catch it."""

            segmentation_spec = {"names": ["background", "fruit", "basket"], "relevant": ["fruit", "basket"]}
            level_sets = {"held_out_green": {"color": (0, 255, 0)}}
            license = "MIT"
            action_space = gymnasium.spaces.Discrete(3)
            observation_space = gymnasium.spaces.Box(0, 255, (24, 24, 3), np.uint8)
            action_names = ("left", "stay", "right")

            def __init__(self, color=(255, 0, 0)):
                self.color = color

            def reset(self, *, seed=None, options=None):
                super().reset(seed=seed)
                self.column, self.basket, self.row = int(self.np_random.integers(6)), 3, 0
                return self._picture()

            def step(self, action):
                self.basket, self.row = int(np.clip(self.basket + action - 1, 0, 5)), self.row + 1
                image, info = self._picture()
                landed = self.row == 4
                return image, float(landed and self.basket == self.column), landed, False, info

            def _picture(self):
                labels = np.zeros((24, 24), np.uint8)
                labels[4 * self.row : 4 * self.row + 4, 4 * self.column : 4 * self.column + 4] = 1
                labels[20:, 4 * self.basket : 4 * self.basket + 4] = 2
                image = np.zeros((24, 24, 3), np.uint8)
                image[labels == 1], image[labels == 2] = self.color, (255, 255, 255)
                return image, {"segmentation": labels}
    ''',
    "nets.py": '''
        import torch
        from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
        from torch import nn


        class Tiny(BaseFeaturesExtractor):
            """Two convolutions and a mean over the image: no CamEncoder, and no closed form."""

            def __init__(self, observation_space, features_dim=8):
                super().__init__(observation_space, features_dim)
                first = nn.Conv2d(observation_space.shape[0], 8, 4, stride=4)
                self.layers = nn.Sequential(first, nn.ReLU(), nn.Conv2d(8, features_dim, 1))

            def forward(self, observations):
                return torch.relu(self.layers(observations)).mean(dim=(-2, -1))
    ''',
    "losses.py": '''
        import torch
        from camal_rl.losses import CamalLoss


        def peak_outside(cam, target):
            """The largest value of the map outside the target."""
            valid = (target.sum(dim=(-2, -1)) > 0).float()
            outside = (((1 - target) * cam).amax(dim=(-2, -1)) * valid).sum() / valid.sum().clamp_min(1)
            return CamalLoss(outside, torch.zeros_like(outside), outside, valid.mean())
    ''',
    "terms.py": '''
        from dataclasses import dataclass
        from camal_rl.agents import AuxiliaryTerm, TermLoss


        @dataclass(frozen=True)
        class SmallValuesConfig:
            weight: float = 0.01
            power: int = 2


        class SmallValues(AuxiliaryTerm):
            """The mean of a power of the values."""

            name = "small_values"
            config_type = SmallValuesConfig

            def loss(self, minibatch, evaluation, progress):
                return TermLoss(evaluation.value.abs().pow(self.config.power).mean())
    ''',
    "algorithms.py": '''
        from dataclasses import dataclass
        from camal_rl.agents import CAMALPPO
        from camal_rl.rl.algorithms import AlgorithmSpec
        from camal_rl.rl.ppo import PPOConfig, ppo_arguments
        from camal_rl.runs.checks import Share


        @dataclass(frozen=True)
        class SlowConfig(PPOConfig):
            """The settings of PPO and two more."""

            pull: Share = 0.5
            note: str = "none"


        class SlowPPO(CAMALPPO):
            """PPO that moves the parameters partly back towards their values before each update."""

            def __init__(self, *arguments, pull=0.0, **settings):
                self.pull = pull
                super().__init__(*arguments, **settings)

            def train(self):
                before = [parameter.detach().clone() for parameter in self.policy.parameters()]
                super().train()
                for parameter, old in zip(self.policy.parameters(), before):
                    parameter.data.lerp_(old, self.pull)
                self.logger.record("train/pull", self.pull)


        def build(config, venv, folder):
            return SlowPPO("CamPolicy", venv, pull=config.algorithm.pull, **ppo_arguments(config, folder))


        SLOW_PPO = AlgorithmSpec(SlowConfig, build, SlowPPO.load)
    ''',
    "metrics.py": '''
        from camal_rl.metrics import register_metric


        @register_metric("peak_share", range=(0, 1), higher_is_better=True, source="ours")
        def peak_share(cam, target):
            """Largest value of the map divided by its sum."""
            return cam.amax(dim=(-2, -1)) / cam.sum(dim=(-2, -1))
    ''',
}

RUN = """
    total_timesteps: 64
    threads: 1
    device: cpu
    algorithm: {name: ALGORITHM, n_steps: 8, batch_size: 32, n_epochs: 1, pull: 0.25}
    evaluation: {sets: [train, held_out, held_out_green], attention_sets: [held_out], episodes: 4, frames: 4,
                 frame_every: 2, num_envs: 2}
    log: {checkpoint_every: 0, overlay_every: 0}
"""
BY_PATH = """
    imports: [orchard.metrics]
    env: {id: "orchard.envs:Catch", num_envs: 4}
    policy: {encoder: "orchard.nets:Tiny", cam_layer: layers.1}
    camal: {loss: "orchard.losses:peak_outside", weight: 0.1, value_rectification: absolute}
"""
BY_NAME = """
    imports: [orchard]
    env: {id: orchard/catch, num_envs: 4}
    policy: {encoder: orchard_tiny}
    camal: {loss: orchard_peak, weight: 0.1}
"""


def write_package(folder):
    """Write the package ``orchard``, and two configurations of the same experiment (by path and by name)."""
    (folder / "orchard").mkdir()
    for name, text in FILES.items():
        (folder / "orchard" / name).write_text(textwrap.dedent(text))
    for name, text, algorithm in (
        ("by_path.yaml", BY_PATH, "orchard.algorithms:SLOW_PPO"),
        ("by_name.yaml", BY_NAME, "orchard_slow"),
    ):
        (folder / name).write_text(textwrap.dedent(text) + textwrap.dedent(RUN).replace("ALGORITHM", algorithm))
