"""PPO with the CAMAL term in one file that reads from top to bottom, in the style of CleanRL.

It uses no algorithm, policy or buffer of Stable-Baselines3 or ``camal_rl.agents``. ``docs/ppo_camal.md`` explains what
CAMAL adds, ``CAMAL 1`` to ``CAMAL 5`` below, and lists the differences from ``CAMALPPO``.

    python examples/ppo_camal.py                      # the toy grid with the hyperparameters of configs/toy_grid.yaml
    python examples/ppo_camal.py --camal-weight 0     # plain PPO
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from camal_rl.envs import SegmentedVecEnv, make_vec  # isort: skip  (before SB3: it silences SB3's hint at an old gym)
import numpy as np
import torch
import tyro
from gymnasium import spaces
from safetensors.torch import save_file
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.utils.tensorboard import SummaryWriter

from camal_rl.attention import class_activation_map
from camal_rl.camal_config import ACTOR_CRITIC_TARGETS, AttentionTarget, CamalConfig
from camal_rl.camal_term import camal_term
from camal_rl.metrics import energy_pointing_game
from camal_rl.rl.env_config import EnvConfig
from camal_rl.rl.environments import level_set_options
from camal_rl.rl.evaluate.evaluation import duplicate_check
from camal_rl.rl.evaluate.returns import play_episodes
from camal_rl.rl.frames import sample_frames
from camal_rl.runs.checks import Amount, Copies, Count, Seed, Share, check_section
from camal_rl.targets import grid_target, target_tensor


@dataclass
class Args:
    """PPO with the CAMAL term. Names that also exist in CleanRL have the same meaning."""

    run_dir: str | None = None
    """folder of the run; by default one in runs/, named after environment, weight, seed and time"""
    seed: Seed = 1
    """seed of the network, the actions and the levels"""
    cuda: bool = True
    """train on a GPU if there is one"""

    env_id: str = "toy_grid/default"
    """an environment of `camal-rl envs`, or the path of a Gymnasium class, package.module:name"""
    env_options: dict[str, bool | int | float | str] = field(default_factory=dict)
    """options of the environment, which override those of each level set: KEY VALUE KEY VALUE"""
    norm_reward: bool = False
    """divide rewards by the running standard deviation of the discounted return (Procgen needs it)"""
    encoder: Literal["patch", "compact", "impala"] = "patch"
    """patch, compact: three convolutions with maps of 8x8 or 16x16 cells; impala: IMPALA's residual network"""
    total_timesteps: Count = 131072
    """environment steps of training, rounded down to whole rollouts"""
    learning_rate: Amount = 7e-4
    num_envs: Copies = 64
    num_steps: Count = 32
    """steps of each environment in a rollout"""
    anneal_lr: bool = False
    """lower the learning rate linearly to 0"""
    gamma: Share = 0.95
    gae_lambda: Share = 0.95
    bootstrap_timeouts: bool = False
    """add the value of the last observation to the last reward where a time limit cuts an episode off"""
    num_minibatches: Count = 8
    update_epochs: Count = 3
    norm_adv: bool = True
    clip_coef: Amount = 0.2
    clip_vloss: bool = False
    ent_coef: Amount = 0.01
    vf_coef: Amount = 1.0
    """coefficient of half the mean squared error; 1 here equals 0.5 in Stable-Baselines3"""
    max_grad_norm: Amount = 0.5

    camal_weight: float = 0.1
    """coefficient of the CAMAL term; 0 is plain PPO"""
    camal_targets: tuple[Literal["value", "policy"], ...] = ("value", "policy")
    """the heads whose maps are supervised"""
    camal_method: str = "hirescam"
    """the class activation map: gradcam, hirescam, layercam, gradcam++ or normgrad"""
    camal_loss: str = "camal"
    """the loss that compares map and mask, a name of camal_rl.losses.LOSSES"""
    camal_inside_weight: float = 0.1
    """coefficient of the loss inside the masks, relative to that outside"""
    camal_frame_fraction: float = 1.0
    """share of each minibatch's frames from which the term is computed"""
    camal_value_rectification: Literal["relu", "absolute"] = "absolute"
    camal_policy_rectification: Literal["relu", "absolute"] = "absolute"
    """relu drops contributions that lower the score; absolute counts them like those that raise it"""

    eval_sets: tuple[str, ...] = ("train", "held_out")
    """level sets of the environment on which the trained agent is evaluated"""
    eval_episodes: Count = 256
    eval_frames: Count = 256
    """number of frames per level set on which attention is measured; one of every `eval_frame_every` is used"""
    eval_frame_every: Count = 7
    eval_seed: Seed = 10_000


class Residual(nn.Sequential):
    """Layers with a shortcut connection."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x + layers(x)``."""
        return x + super().forward(x)


def encoder_layers(name: str, channels: int) -> list[nn.Module]:
    """Return the convolutions of an encoder, the CAM layer last: 8x8 cells on images of 64x64, 16x16 with compact."""
    if name != "impala":
        first = nn.Conv2d(channels, 32, 4, 4) if name == "patch" else nn.Conv2d(channels, 16, 5, 2, 2)
        convs = (first, nn.Conv2d(first.out_channels, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1))
        return [layer for conv in convs for layer in (conv, nn.ReLU())]
    layers: list[nn.Module] = []
    for depth in (16, 32, 32):
        layers += [nn.Conv2d(channels, depth, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1)]
        a, b, c, d = ([nn.ReLU(), nn.Conv2d(depth, depth, 3, padding=1)] for _ in range(4))
        layers += [Residual(*a, *b), Residual(*c, *d)]
        channels = depth
    return [*layers, nn.ReLU()]


def orthogonal(module: nn.Module, std: float = math.sqrt(2)) -> nn.Module:
    """Initialize every layer with an orthogonal weight and no bias."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter) if parameter.dim() == 1 else nn.init.orthogonal_(parameter, std)
    return module


class Agent(nn.Module):
    """An actor-critic network for images ``uint8 (B, H, W, C)``; the last feature map is the CAM layer."""

    def __init__(self, encoder: str, image_shape: tuple[int, ...], num_actions: int) -> None:
        super().__init__()
        self.cnn = orthogonal(nn.Sequential(*encoder_layers(encoder, image_shape[2])))
        features = self.cnn(torch.zeros(1, *image_shape).permute(0, 3, 1, 2))
        self.cam_grid = (features.shape[2], features.shape[3])
        self.hidden = nn.Sequential(nn.Flatten(), orthogonal(nn.Linear(features.numel(), 256)), nn.ReLU())
        self.actor = orthogonal(nn.Linear(256, num_actions), std=0.01)
        self.critic = orthogonal(nn.Linear(256, 1), std=1.0)

    def forward(self, images: Tensor) -> tuple[Tensor, Categorical, Tensor]:
        """Return the features ``(B, C, h, w)``, the distribution of actions and the values ``(B,)``."""
        features = self.cnn(images.permute(0, 3, 1, 2) / 255)
        hidden = self.hidden(features)
        return features, Categorical(logits=self.actor(hidden)), self.critic(hidden).squeeze(1)

    def predict(self, observation: np.ndarray, *, deterministic: bool = False) -> tuple[np.ndarray, None]:
        """Return actions for images; the package's evaluation calls this."""
        with torch.no_grad():
            policy = self(torch.as_tensor(observation, device=next(self.parameters()).device))[1]
        return (policy.probs.argmax(1) if deterministic else policy.sample()).cpu().numpy(), None


def attention_maps(camal: CamalConfig, features: Tensor, value: Tensor, log_prob: Tensor, n: int) -> dict[Any, Tensor]:
    """Return the maps ``(n, h, w)`` of the first n frames for each supervised head, with their graph."""
    scores = {"value": value, "policy": log_prob}  # CAMAL 1: one score per frame; its gradient gives the map
    return {
        head: class_activation_map(features, scores[head], camal.method, True, camal.rectification[head])[:n]
        for head in camal.targets
    }


def make_env(args: Args, level_set: str, num_envs: int, seed: int, masks: bool) -> SegmentedVecEnv:
    """Make the environment of a level set; with ``masks=False`` the simulator computes no masks."""
    options = level_set_options(EnvConfig(args.env_id, options=args.env_options), level_set)
    return make_vec(args.env_id, num_envs, seed, **options, **({} if masks else {"segmentation": None}))


def train(args: Args, camal: CamalConfig, env: SegmentedVecEnv, agent: Agent, writer: SummaryWriter) -> dict[str, Any]:
    """Train the agent and return how training ended."""
    device = next(agent.parameters()).device
    venv: VecEnv = VecNormalize(env, norm_obs=False, gamma=args.gamma) if args.norm_reward else env
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    batch_size = args.num_envs * args.num_steps
    num_iterations = args.total_timesteps // batch_size
    rollout = (args.num_steps, args.num_envs)
    next_obs, next_done = torch.tensor(venv.reset(), device=device), torch.zeros(args.num_envs, device=device)
    obs = torch.zeros((*rollout, *next_obs.shape[1:]), dtype=torch.uint8, device=device)
    actions = torch.zeros(rollout, dtype=torch.long, device=device)
    logprobs, rewards = torch.zeros(rollout, device=device), torch.zeros(rollout, device=device)
    dones, values = (torch.zeros(args.num_steps + 1, args.num_envs, device=device) for _ in range(2))
    masks = torch.zeros((*rollout, *agent.cam_grid), dtype=torch.uint8, device=device)  # CAMAL 2
    relevant = env.spec.relevant_lookup()
    episodes: deque[float] = deque(maxlen=100)
    started, global_step = time.perf_counter(), 0
    for iteration in range(1, num_iterations + 1):
        if args.anneal_lr:
            optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - (iteration - 1) / num_iterations)
        with torch.no_grad():
            for step in range(args.num_steps):
                global_step += args.num_envs
                obs[step], dones[step] = next_obs, next_done
                if camal.weight > 0:  # CAMAL 3: the masks of the images that the agent is about to act on
                    masks[step] = torch.from_numpy(grid_target(env.segmentation(), relevant, agent.cam_grid))
                _, policy, values[step] = agent(next_obs)
                actions[step] = policy.sample()
                logprobs[step] = policy.log_prob(actions[step])
                images, reward, done, infos = venv.step(actions[step].cpu().numpy())
                rewards[step] = torch.from_numpy(reward)
                cut = [i for i, info in enumerate(infos) if args.bootstrap_timeouts and info.get("TimeLimit.truncated")]
                if cut:
                    last_obs = np.stack([infos[i]["terminal_observation"] for i in cut])
                    rewards[step, cut] += args.gamma * agent(torch.tensor(last_obs, device=device))[2]
                next_obs, next_done = torch.tensor(images, device=device), torch.tensor(done, device=device)
                episodes.extend(info["episode"]["r"] for info in infos if "episode" in info)
            values[-1], dones[-1] = agent(next_obs)[2], next_done
        advantages, last = torch.zeros_like(rewards), torch.zeros(args.num_envs, device=device)
        for t in reversed(range(args.num_steps)):
            goes_on = 1 - dones[t + 1]
            delta = rewards[t] + args.gamma * values[t + 1] * goes_on - values[t]
            advantages[t] = last = delta + args.gamma * args.gae_lambda * goes_on * last
        returns = advantages + values[:-1]
        b_obs, b_actions, b_masks = obs.flatten(0, 1), actions.flatten(), masks.flatten(0, 1)
        b_logprobs, b_values = logprobs.flatten(), values[:-1].flatten()
        b_advantages, b_returns = advantages.flatten(), returns.flatten()
        logs: dict[str, list[Tensor]] = defaultdict(list)
        for _ in range(args.update_epochs):
            for rows in torch.randperm(batch_size, device=device).chunk(args.num_minibatches):
                features, policy, value = agent(b_obs[rows])
                log_prob = policy.log_prob(b_actions[rows])
                log_ratio = log_prob - b_logprobs[rows]
                ratio = log_ratio.exp()
                advantage = b_advantages[rows]
                if args.norm_adv:
                    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                clipped = -advantage * ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
                pg_loss = torch.max(-advantage * ratio, clipped).mean()
                v_loss = (value - b_returns[rows]).square()
                if args.clip_vloss:
                    change = (value - b_values[rows]).clamp(-args.clip_coef, args.clip_coef)
                    v_loss = torch.max(v_loss, (b_values[rows] + change - b_returns[rows]).square())
                v_loss, entropy, kl = 0.5 * v_loss.mean(), policy.entropy().mean(), (ratio - 1 - log_ratio).mean()
                loss = pg_loss - args.ent_coef * entropy + args.vf_coef * v_loss
                if camal.weight > 0:  # CAMAL 4: the maps of some frames of the minibatch, compared with their masks
                    some = rows[: camal.num_attention_frames(len(rows))]
                    maps = attention_maps(camal, features, value, log_prob, len(some))
                    term = camal_term(maps, b_masks[some], camal, global_step / args.total_timesteps)
                    loss = loss + term.loss
                    logs["camal/loss"].append(term.total.detach())
                    for target, outside in zip(camal.targets, term.outside, strict=True):
                        logs[f"camal/{target}/outside"].append(outside)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                optimizer.step()
                for name, number in (("policy", pg_loss), ("value", v_loss), ("entropy", entropy), ("kl", kl)):
                    logs[f"losses/{name}"].append(number.detach())

        scalars = {name: torch.stack(numbers).mean().item() for name, numbers in logs.items()}
        scalars["charts/learning_rate"] = optimizer.param_groups[0]["lr"]
        scalars["charts/SPS"] = global_step / (time.perf_counter() - started)
        scalars |= {"charts/episodic_return": float(np.mean(episodes))} if episodes else {}
        for name, number in scalars.items():
            writer.add_scalar(name, number, global_step)
        if iteration % max(1, num_iterations // 20) == 0:
            shown = [f"{name} {number:.3g}" for name, number in scalars.items() if not name.startswith("losses")]
            print(f"{global_step:,} steps:", ", ".join(shown))
    return {"steps": global_step, "seconds": time.perf_counter() - started, "return": mean_and_count(episodes)}


def evaluate(args: Args, camal: CamalConfig, agent: Agent, level_set: str) -> dict[str, Any]:
    """Return mean returns and energy pointing games on a level set, measured as `camal-rl evaluate` does."""
    seen_in_training = duplicate_check(EnvConfig(args.env_id, options=args.env_options), level_set)
    found: dict[str, Any] = {}
    for kind in ("sampled", "preferred"):
        env = make_env(args, level_set, min(64, args.eval_episodes), args.eval_seed, masks=False)
        played = play_episodes(agent, env, args.eval_episodes, kind == "preferred", args.eval_seed, seen_in_training)
        env.close()
        found[f"return_{kind}"] = mean_and_count(played.returns)
    env = make_env(args, level_set, min(64, args.eval_frames), args.eval_seed, masks=True)
    frames = sample_frames(agent, env, args.eval_frames, args.eval_frame_every, args.eval_seed)
    env.close()
    target = target_tensor(torch.from_numpy(grid_target(frames.labels, frames.relevant, agent.cam_grid)))
    epg: dict[AttentionTarget, list[float]] = {head: [] for head in ACTOR_CRITIC_TARGETS}
    for images, cells in zip(torch.from_numpy(frames.images).split(64), target.split(64), strict=True):
        features, policy, value = agent(images.to(next(agent.parameters()).device))
        preferred = policy.logits.amax(dim=1)
        maps = attention_maps(replace(camal, targets=(*epg,)), features, value, preferred, len(images))
        for head, cam in maps.items():
            epg[head] += energy_pointing_game(cam.detach().cpu(), cells).tolist()
    return {**found, **{f"epg_{head}": mean_and_count(numbers) for head, numbers in epg.items()}}


def mean_and_count(numbers: Any) -> dict[str, Any]:
    """Return the mean of the defined numbers, or `None` if there are none, and their count."""
    defined = [float(number) for number in numbers if not math.isnan(number)]
    return {"mean": float(np.mean(defined)) if defined else None, "count": len(defined)}


def prepare(args: Args) -> tuple[CamalConfig, SegmentedVecEnv, Agent, Path]:
    """Check the arguments and make what training needs; an error says what was expected."""
    check_section(args, "")
    batch_size = args.num_envs * args.num_steps
    if batch_size % args.num_minibatches or not 2 * args.num_minibatches <= batch_size <= args.total_timesteps:
        limits = f"a multiple of num_minibatches, at least twice that, at most {args.total_timesteps} total_timesteps"
        raise ValueError(f"num_envs * num_steps must be {limits}, got {args.num_envs} * {args.num_steps}")
    for name in args.eval_sets:
        level_set_options(EnvConfig(args.env_id, options=args.env_options), name)
    # CAMAL 5: the settings of the term; `--camal-weight` is CamalConfig's `weight`, and so on
    settings = {name: value for name, value in vars(args).items() if name.startswith("camal_")}
    camal = CamalConfig(**{name.removeprefix("camal_"): value for name, value in settings.items()})
    label = f"{args.env_id.replace('/', '-').replace(':', '-')}__ppo_camal__{camal.weight:g}__{args.seed}"
    torch.manual_seed(args.seed)
    env = make_env(args, "train", args.num_envs, args.seed, masks=camal.weight > 0)
    if not isinstance(env.action_space, spaces.Discrete):
        raise ValueError(f"{args.env_id} must have discrete actions, got {env.action_space}")
    assert env.observation_space.shape is not None
    agent = Agent(args.encoder, env.observation_space.shape, int(env.action_space.n))
    run_dir = Path(args.run_dir or f"runs/{label}__{int(time.time())}")
    run_dir.mkdir(parents=True)
    return camal, env, agent.to("cuda" if args.cuda and torch.cuda.is_available() else "cpu"), run_dir


def main(args: Args) -> None:
    """Train, evaluate, and write `result.json` into the run folder."""
    try:
        camal, env, agent, run_dir = prepare(args)
    except (ValueError, TypeError, ImportError, OSError) as error:
        print(f"ppo_camal.py: {error}", file=sys.stderr)
        sys.exit(2)
    writer = SummaryWriter(str(run_dir))
    writer.add_text("args", json.dumps(asdict(args), indent=2))
    result = {"args": asdict(args), "training": train(args, camal, env, agent, writer)}
    env.close()
    writer.close()
    save_file(agent.state_dict(), run_dir / "agent.safetensors")
    result["level_sets"] = {name: evaluate(args, camal, agent, name) for name in args.eval_sets}
    (run_dir / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{'level set':<22} return_sampled  return_preferred  epg_value  epg_policy")
    for name, found in result["level_sets"].items():
        cells = ["undefined" if each["mean"] is None else f"{each['mean']:.3f}" for each in found.values()]
        print(f"{name:<22} {cells[0]:>14}  {cells[1]:>16}  {cells[2]:>9}  {cells[3]:>10}")
    print(f"run folder: {run_dir}")


if __name__ == "__main__":
    main(tyro.cli(Args))
