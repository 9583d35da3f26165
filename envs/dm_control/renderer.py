"""Images and label maps of MuJoCo's scenes, from one OpenGL context for all environments of a task in a process.

MuJoCo's shadows, reflections, antialiasing, haze and fog are off. They take 95 % of the suite's own drawing time, and
without them image and label map agree in every pixel.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from camal_rl.envs.dm_control.camera import Pose, moved
from camal_rl.envs.dm_control.engine import open_context
from camal_rl.envs.dm_control.looks import Look, recolored_texture, shaded
from camal_rl.envs.dm_control.tasks import Task
from camal_rl.envs.segmentation import LabelMap
from camal_rl.envs.wrappers import Image

_MAX_GEOMS = 1000
_HIDDEN_GROUP = 5
_OFF = ("mjRND_SHADOW", "mjRND_REFLECTION", "mjRND_HAZE", "mjRND_FOG")
# Fields of a model that affect drawing and may differ between the episodes of a task.
_DRAWN = (
    *("geom_rgba", "geom_size", "geom_group", "site_rgba", "site_size", "site_group", "tendon_rgba", "tendon_group"),
    *("mat_rgba", "light_ambient", "light_diffuse", "light_specular", "light_active"),
)
_LIGHTS = ("ambient", "diffuse", "specular")


class Classes:
    """The class id of everything that a model draws.

    Args:
        model: a ``mujoco.MjModel``.
        task: the task, which assigns classes to parts.

    Attributes:
        names: names of the classes.
        geoms: class id of each geom, ``int64[ngeom]``.
        sites: class id of each site, ``int64[nsite]``.
        body: id of the class ``body``.
    """

    def __init__(self, model: Any, task: Task) -> None:
        import mujoco

        self.names = task.classes
        plane = int(mujoco.mjtGeom.mjGEOM_PLANE)
        geoms = [
            task.class_of(model.geom(i).name, model.body(model.geom_bodyid[i]).name, int(model.geom_type[i]) == plane)
            for i in range(model.ngeom)
        ]
        sites = [
            task.class_of(model.site(i).name, model.body(model.site_bodyid[i]).name, False) for i in range(model.nsite)
        ]
        # A hidden part may have a class that the task does not list; it counts as background.
        self.geoms, self.sites = (
            np.array([self.names.index(each) if each in self.names else 0 for each in found], dtype=np.int64)
            for found in (geoms, sites)
        )
        self._of_type = {int(mujoco.mjtObj.mjOBJ_GEOM): self.geoms, int(mujoco.mjtObj.mjOBJ_SITE): self.sites}
        self.body = self.names.index("body")

    def of(self, kind: int, number: int) -> int:
        """Return the class id of the part ``number`` of a MuJoCo object type; tendons and skins belong to the body."""
        table = self._of_type.get(kind)
        return self.body if table is None else int(table[number])


class Visuals:
    """The part of a model that a renderer needs to draw an environment's scenes in a look.

    Args:
        model: the environment's ``mujoco.MjModel``, which is only read.
        classes: the classes of its parts.
        look: the look of the scenes.

    Attributes:
        arrays: values of the model's fields by name.
        textures: texels ``uint8[H, W, 3]`` of the recolored textures by number; other textures are the model's own.
        lights: factor on the light that comes from the camera.
    """

    def __init__(self, model: Any, classes: Classes, look: Look) -> None:
        self.arrays = {name: getattr(model, name).copy() for name in _DRAWN}
        self.textures: dict[int, npt.NDArray[np.uint8]] = {}
        self.lights = look.lights
        for name in _LIGHTS:
            self.arrays[f"light_{name}"] *= np.float32(look.lights)
        if look.body is not None:
            self._color_body(model, classes, look.body)
        if look.ground is not None:
            for texture in _ground_textures(model, classes):
                self.textures[texture] = recolored_texture(texels(model, texture), look.ground)
        for name in look.hidden:
            label = classes.names.index(name)
            self.arrays["geom_group"][classes.geoms == label] = _HIDDEN_GROUP
            self.arrays["site_group"][classes.sites == label] = _HIDDEN_GROUP
            if name == "body":
                self.arrays["tendon_group"][:] = _HIDDEN_GROUP

    def _color_body(self, model: Any, classes: Classes, color: tuple[float, float, float]) -> None:
        default = np.array((0.5, 0.5, 0.5, 1), dtype=np.float32)
        for geom in np.flatnonzero(classes.geoms == classes.body):
            rgba, material = model.geom_rgba[geom], model.geom_matid[geom]
            # As in MuJoCo, a geom without a color of its own has the color of its material.
            own = model.mat_rgba[material] if material >= 0 and np.array_equal(rgba, default) else rgba
            self.arrays["geom_rgba"][geom] = (*shaded(color, own[:3]), own[3])


def texels(model: Any, texture: int) -> npt.NDArray[np.uint8]:
    """Return the texels ``uint8[H, W, 3]`` of a model's texture, as a view of the model's memory."""
    height, width = int(model.tex_height[texture]), int(model.tex_width[texture])
    start, channels = int(model.tex_adr[texture]), int(model.tex_nchannel[texture])
    data: npt.NDArray[np.uint8] = model.tex_data[start : start + height * width * channels]
    return data.reshape(height, width, channels)


def _ground_textures(model: Any, classes: Classes) -> list[int]:
    ground = classes.names.index("ground")
    materials = model.geom_matid[(classes.geoms == ground) & (model.geom_matid >= 0)]
    return sorted({int(each) for each in model.mat_texid[materials].ravel() if each >= 0})


class Renderer:
    """Draws the scenes of one task; made by :class:`~camal_rl.envs.dm_control.shared.SharedRenderer`.

    Args:
        model: a ``mujoco.MjModel`` of the task; a copy of it is kept.
        classes: the classes of its parts.
        side: height and width of the images in pixels.

    Raises:
        NoRendererError: OpenGL cannot draw on this machine.
    """

    def __init__(self, model: Any, classes: Classes, side: int) -> None:
        import mujoco

        self._mujoco, self._classes = mujoco, classes
        self._model = copy.copy(model)
        visual = self._model.vis
        visual.quality.offsamples = visual.quality.shadowsize = 0
        visual.global_.offwidth = visual.global_.offheight = side
        self._headlight = {name: getattr(visual.headlight, name).copy() for name in _LIGHTS}
        self._context = open_context(side)
        self._drawer = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._drawer)
        self._scene = mujoco.MjvScene(self._model, maxgeom=_MAX_GEOMS)
        self._parts = self._scene.geoms
        for name in _OFF:
            self._scene.flags[getattr(mujoco.mjtRndFlag, name)] = 0
        self._option, self._camera = mujoco.MjvOption(), mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._rectangle = mujoco.MjrRect(0, 0, side, side)
        self._buffer: Image = np.empty((side, side, 3), dtype=np.uint8)
        self._shown: Visuals | None = None
        self._own_textures = {number: texels(model, number).copy() for number in _ground_textures(model, classes)}
        self._textures: dict[int, npt.NDArray[np.uint8]] = {}

    def draw(
        self, data: Any, visuals: Visuals, camera: int, pose: Pose | None, labeled: bool
    ) -> tuple[Image, LabelMap | None]:
        """Return the image ``uint8[side, side, 3]`` of a state, and its label map ``uint8[side, side]`` or ``None``.

        Args:
            data: a ``mujoco.MjData`` whose positions are computed.
            visuals: what its model shows.
            camera: number of the camera.
            pose: the camera's displacement; ``None`` leaves the camera in its place.
            labeled: whether the label map is drawn too.
        """
        mujoco, scene = self._mujoco, self._scene
        self._context.make_current()
        self._show(visuals)
        self._camera.fixedcamid = camera
        catch = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._camera, catch, scene)
        if pose is not None:
            self._move_camera(data, pose)
        image = self._pixels()
        return image, self._labels() if labeled else None

    def _pixels(self) -> Image:
        self._mujoco.mjr_render(self._rectangle, self._scene, self._drawer)
        self._mujoco.mjr_readPixels(self._buffer, None, self._rectangle, self._drawer)
        return self._buffer[::-1].copy()

    def _labels(self) -> LabelMap:
        flags, kinds = self._scene.flags, self._mujoco.mjtRndFlag
        flags[kinds.mjRND_SEGMENT] = flags[kinds.mjRND_IDCOLOR] = 1
        pixels = self._pixels().astype(np.uint16)
        flags[kinds.mjRND_SEGMENT] = flags[kinds.mjRND_IDCOLOR] = 0
        # A part's color is its number in the scene, from 1 on, in 24 bits. Two channels suffice for 1,000 parts.
        ids = np.zeros(_MAX_GEOMS + 1, dtype=np.uint8)
        for part in self._parts[: self._scene.ngeom]:
            ids[part.segid + 1] = self._classes.of(part.objtype, part.objid)
        return ids[pixels[..., 0] + 256 * pixels[..., 1]]

    def _show(self, visuals: Visuals) -> None:
        """Copy an environment's visuals into the model that is drawn."""
        if visuals is self._shown:
            return
        for name, values in visuals.arrays.items():
            getattr(self._model, name)[:] = values
        for name, own in self._headlight.items():
            getattr(self._model.vis.headlight, name)[:] = own * np.float32(visuals.lights)
        for number, own_texels in self._own_textures.items():
            wanted = visuals.textures.get(number, own_texels)
            if wanted is not self._textures.get(number, own_texels):
                texels(self._model, number)[:] = wanted
                self._mujoco.mjr_uploadTexture(self._model, self._drawer, number)
                self._textures[number] = wanted
        self._shown = visuals

    def _move_camera(self, data: Any, pose: Pose) -> None:
        subject = data.xpos[1:].mean(axis=0)
        for eye in self._scene.camera:
            position, forward, up = (np.array(each, dtype=np.float64) for each in (eye.pos, eye.forward, eye.up))
            distance = float((subject - position) @ forward)
            eye.pos, eye.forward, eye.up = moved(position, forward, up, distance, pose)

    def close(self) -> None:
        """Free the context."""
        self._context.make_current()
        self._drawer.free()
        self._context.free()
