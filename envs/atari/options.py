"""The options of an Atari game and their checks."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from camal_rl.argument_checks import check_choice, check_integer, check_number
from camal_rl.envs.atari.games import GAMES, Game
from camal_rl.envs.atari.modification_table import MODIFICATIONS
from camal_rl.envs.atari.modifications import Modification, check_modifications
from camal_rl.envs.levels import check_level_range
from camal_rl.envs.option_checks import check_option_names, class_names, list_of_names
from camal_rl.envs.segmentation import SegmentationSpec
from camal_rl.spelling import did_you_mean

_LARGEST_SIDE = 512


@dataclass(frozen=True)
class AtariOptions:
    """The options of ``make_vec("atari/<game>", ...)``.

    Attributes:
        game: name of the game.
        start_level: first level; a level is the seed of an episode, which determines the number of no-ops at its start
            and which actions are repeated.
        num_levels: number of levels; 0 means every level from ``start_level`` on.
        mode: the game's mode, numbered as in ALE; ``None`` is its first.
        difficulty: the game's difficulty, numbered as in ALE; ``None`` is its first.
        modifs: names of modifications of the game, see
            :data:`~camal_rl.envs.atari.modification_table.MODIFICATIONS`; they apply from the first raw frame on.
        repeat_action_probability: probability in [0, 1) that a raw frame repeats the last action instead of the
            chosen one (Machado et al. 2018, arXiv 1709.06009, recommend 0.25). With 0, levels differ only in the number
            of no-ops at their start.
        frame_skip: raw frames for which an action is repeated; the observation shows the maximum of the last two.
        noop_max: an episode starts with 1 to this many raw frames without action; 0 for none.
        size: height and width of the observation in pixels.
        grayscale: one channel per frame instead of three.
        frame_stack: number of frames in an observation, stacked along the channels, the newest last.
        theme: ``ale``, or ``recolored``: red, green and blue are permuted, which also changes the grays.
        stack_labels: ``newest``: the label map of the newest frame; ``union``: the union over all frames of the stack.
        fire_on_reset: press FIRE at the start of an episode if it is the second action; some games wait for it.
        episodic_life: end the episode when a life is lost; returns are then per life.
        clip_reward: replace each reward by its sign; returns are then sums of signs.
        full_action_space: all 18 actions instead of those that the game uses.
        max_frames: raw frames after which an episode is truncated.
        segmentation: ``silhouette`` labels the object's colors inside its box, ``box`` the whole box, ``None``
            switches masks off.
        relevant: class names that replace the default relevant set.
        subproc: run each environment in its own process. A step takes about a millisecond, so this pays off if there
            are enough cores.
    """

    game: str
    start_level: int = 0
    num_levels: int = 0
    mode: int | None = None
    difficulty: int | None = None
    modifs: tuple[str, ...] = ()
    repeat_action_probability: float = 0.25
    frame_skip: int = 4
    noop_max: int = 30
    size: int = 84
    grayscale: bool = True
    frame_stack: int = 4
    theme: Literal["ale", "recolored"] = "ale"
    stack_labels: Literal["newest", "union"] = "newest"
    fire_on_reset: bool = True
    episodic_life: bool = False
    clip_reward: bool = False
    full_action_space: bool = False
    max_frames: int = 108_000
    segmentation: Literal["silhouette", "box"] | None = "silhouette"
    relevant: tuple[str, ...] | None = None
    subproc: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        for item in fields(self):
            if isinstance(item.default, bool) and not isinstance(getattr(self, item.name), bool):
                raise TypeError(f"{item.name} must be true or false, got {getattr(self, item.name)!r}")
        check_integer("frame_skip", self.frame_skip, 1, 100)
        check_integer("noop_max", self.noop_max, 0, 1000)
        check_integer("size", self.size, 8, _LARGEST_SIDE)
        check_integer("frame_stack", self.frame_stack, 1, 64)
        check_integer("max_frames", self.max_frames, 1, 2**31 - 1)
        check_choice("theme", self.theme, ("ale", "recolored"))
        check_choice("stack_labels", self.stack_labels, ("newest", "union"))
        check_choice("segmentation", self.segmentation, ("silhouette", "box", None))
        _check_probability(self.repeat_action_probability)
        check_level_range(self.start_level, self.num_levels)
        for name, value, known in (
            ("mode", self.mode, self.table.modes),
            ("difficulty", self.difficulty, self.table.difficulties),
        ):
            if value is not None and (isinstance(value, bool) or value not in known):
                raise ValueError(f"{name} of {self.game} must be one of {', '.join(map(str, known))}, got {value!r}")
        check_modifications(self.game, self.modifs, MODIFICATIONS.get(self.game, {}))
        if self.segmentation is not None:
            self._check_masks()
        self.spec()

    def _check_masks(self) -> None:
        if self.table.exactness == "none":
            raise ValueError(
                f"atari/{self.game} has no masks: {self.table.note}; add segmentation=None (env.segmentation=null)"
            )
        if self.variant not in self.table.checked:
            mode, difficulty = self.variant
            raise ValueError(
                f"masks of {self.game} were not checked in mode {mode} with difficulty {difficulty}; add "
                "segmentation=None, or leave mode and difficulty out"
            )
        for name, modification in self.modifications().items():
            if not modification.checked:
                raise ValueError(
                    f"masks of {self.game} with {name!r} are not good or were not measured; add segmentation=None"
                )
        if self.modifs and self.variant != self.table.default:
            raise ValueError(
                f"masks of {self.game} were not checked with modifications in another mode or difficulty; add "
                "segmentation=None, or leave mode and difficulty out"
            )

    def modifications(self) -> dict[str, Modification]:
        """Return the chosen modifications by name, in the given order."""
        return {name: MODIFICATIONS[self.game][name] for name in self.modifs}

    @property
    def table(self) -> Game:
        """The game's entry in the table of games."""
        return GAMES[self.game]

    @property
    def variant(self) -> tuple[int, int]:
        """Mode and difficulty that are played."""
        default_mode, default_difficulty = self.table.default
        return (
            default_mode if self.mode is None else self.mode,
            default_difficulty if self.difficulty is None else self.difficulty,
        )

    def spec(self) -> SegmentationSpec:
        """Return the classes with the relevant set of these options."""
        return self.table.spec().with_relevant(self.relevant)


OPTION_NAMES = tuple(item.name for item in fields(AtariOptions) if item.name != "game")


def parse_options(game: str, given: dict[str, Any]) -> AtariOptions:
    """Return the options given for a game.

    Raises:
        TypeError: unknown option (the message names the nearest) or a value of the wrong type.
        ValueError: unknown game, a value that the game does not support, or masks that were not checked.
    """
    if game not in GAMES:
        raise ValueError(f"unknown Atari game {game!r}; {did_you_mean(game, GAMES)}`camal-rl envs` lists them all")
    check_option_names("Atari", given, OPTION_NAMES)
    modifs = list_of_names("modifs", "modifications", given.get("modifs", ()))
    return AtariOptions(game, **{**given, "relevant": class_names(given.get("relevant")), "modifs": modifs})


def _check_probability(value: float) -> None:
    check_number("repeat_action_probability", value)
    if not 0 <= value < 1:
        raise ValueError(f"repeat_action_probability must be in [0, 1), got {value}")
