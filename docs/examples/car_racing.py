"""CarRacing with label maps: a simulator of one's own, taught step by step in docs/own_environment.md."""

from __future__ import annotations

from functools import partial
from typing import Any

import cv2
import gymnasium
import numpy as np
from gymnasium.envs.box2d.car_racing import SCALE, WINDOW_H, WINDOW_W, ZOOM

from camal_rl.envs import SegmentationSpec, check_segmented_env, make_segmented_vec
from camal_rl.envs.levels import SeededLevels

GRASS, ROAD, KERB, CAR, DASHBOARD = range(5)
SIDE, FINE = 96, 4  # A label map is drawn four times as large, then sampled in the middle of each pixel.
KERB_COLORS = ((255, 255, 255), (255, 0, 0))


class CarRacingWithMasks(gymnasium.Wrapper):
    """Adds ``info["segmentation"]``, uint8[96, 96], drawn from the polygons of the simulator's state."""

    segmentation_spec = SegmentationSpec(
        names=("grass", "road", "kerb", "car", "dashboard"), relevant=("road", "kerb", "car")
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode; the label map is that of its first frame."""
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, "segmentation": self.label_map()}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Take an action; the label map is that of the frame that it leads to, also at the end of an episode."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(reward), terminated, truncated, {**info, "segmentation": self.label_map()}

    def label_map(self) -> np.ndarray:
        """Draw the current state: road and kerbs in the simulator's order, the car, the dashboard over everything."""
        game, labels = self.env.unwrapped, np.zeros((SIDE * FINE, SIDE * FINE), dtype=np.uint8)
        outlines = self.to_pixels(np.array([points for points, _ in game.road_poly]))
        for outline, (_, color) in zip(outlines, game.road_poly, strict=True):
            cv2.fillPoly(labels, [outline], KERB if tuple(color) in KERB_COLORS else ROAD)
        for part in game.car.drawlist:
            for fixture in part.fixtures:
                outline = np.array([part.transform * vertex for vertex in fixture.shape.vertices])
                cv2.fillPoly(labels, [self.to_pixels(outline)], CAR)
        labels[-SIDE * FINE // 8 :] = DASHBOARD
        return labels[FINE // 2 :: FINE, FINE // 2 :: FINE].copy()

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Return places of the world (..., 2) as pixels: the camera follows the car, looks along it and zooms in."""
        game = self.env.unwrapped
        zoom = SCALE * (0.1 * max(1 - game.t, 0) + ZOOM * min(game.t, 1))
        sine, cosine = np.sin(game.car.hull.angle), np.cos(game.car.hull.angle)
        across, along = np.moveaxis((points - np.array(game.car.hull.position)) * zoom, -1, 0)
        x = WINDOW_W / 2 + across * cosine + along * sine
        y = WINDOW_H * 3 / 4 + across * sine - along * cosine
        return (np.stack([x / WINDOW_W, y / WINDOW_H], axis=-1) * SIDE * FINE).round().astype(np.int32)


def make_env(start_level: int = 0, num_levels: int = 200, domain_randomize: bool = False) -> gymnasium.Env:
    """Make CarRacing with five actions on a range of tracks; ``domain_randomize`` gives each track other colors."""
    game = gymnasium.make("CarRacing-v3", continuous=False, domain_randomize=domain_randomize)
    return SeededLevels(CarRacingWithMasks(game), start_level, num_levels)


if __name__ == "__main__":
    from camal_rl.agents import CAMALPPO, CamalConfig

    check_segmented_env(make_env())
    env = make_segmented_vec(make_env, num_envs=8, seed=0, subproc=True)
    camal = CamalConfig(weight=0.3, inside_weight=0.2)
    model = CAMALPPO("CamPolicy", env, camal=camal, n_steps=256, batch_size=256, tensorboard_log="runs/car_racing")
    model.learn(500_000, progress_bar=True)
    model.save("car_racing")
    held_out = make_segmented_vec(partial(make_env, 200, 1_000, domain_randomize=True), num_envs=1, seed=1)
    print(model.policy.attention(held_out.reset())["value"].shape)
