"""Names of a user's become names of files and folders that can be anywhere; two of them never become one."""

import random
import re
from itertools import combinations

import pytest

from camal_rl.comparison.plan import plan_runs
from camal_rl.rl.methods import known_methods
from camal_rl.runs.folders import portable_name, unique_name
from camal_rl.runs.loading import load_config
from camal_rl.runs.run_folder import default_run_dir

PORTABLE = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9._+-]*")
OWN = "tests.rl.test_methods:Own"
CLOSE = ["pkg.mod:name", "pkg.mod-name", "pkg.mod:Name", "pkg:mod.name", "PKG.mod:name", "a/b", "a\\b", "a b", "größe"]


@pytest.mark.parametrize("name", [*known_methods(), "camal+drac", "vanilla", "ifam"])
def test_methods_that_ship_keep_their_names(name):
    assert unique_name(name) == name


def test_a_path_is_readable_and_always_becomes_the_same_name():
    assert unique_name("pkg.mod:name") == "pkg.mod-name-d55ed82c"
    assert unique_name("camal+pkg.mod:name") == "camal+pkg.mod-name-6c2c2070"
    assert portable_name("orchard.envs:Catch") == "orchard.envs-Catch"
    assert portable_name("minigrid/DoorKey-6x6") == "minigrid-DoorKey-6x6"


@pytest.mark.parametrize(("one", "other"), list(combinations([*CLOSE, *map(unique_name, CLOSE[:3])], 2)))
def test_names_that_look_alike_have_folders_of_their_own_also_where_capitals_make_no_difference(one, other):
    # The names of folders are among them: one that is given as a method's name is not kept as it stands.
    assert (unique_name(one).lower() == unique_name(other).lower()) == (one == other)


def test_any_names_are_portable_and_different():
    rng = random.Random(0)
    letters = "aB:/.-+_ \\ßé\n\0~*\ud800"
    names = {"", *("".join(rng.choices(letters, k=rng.choice([1, 2, 3, 300]))) for _ in range(2000))}
    for name in names:
        assert PORTABLE.fullmatch(unique_name(name))
        assert PORTABLE.fullmatch(portable_name(name))
        assert len(unique_name(name)) <= 100
    assert len({unique_name(name).lower() for name in names}) == len(names)


def test_every_run_of_a_comparison_has_a_portable_folder_of_its_own(tmp_path):
    methods = ["ppo", "camal", OWN, f"camal+{OWN}", "camal_rl.losses:energy_loss"]
    runs = plan_runs(load_config("toy_grid"), methods, 2, tmp_path)
    names = [run.folder.path.name for run in runs]
    assert all(PORTABLE.fullmatch(name) for name in names)
    assert len({name.lower() for name in names}) == len(runs) == 10
    own = load_config("toy_grid", ["camal.weight=0", f"terms={{'{OWN}': {{}}}}"])
    assert default_run_dir(own).name == runs[2].folder.path.name


def test_a_folder_that_an_earlier_version_wrote_is_found(tmp_path):
    former = tmp_path / f"{OWN}-seed0"
    former.mkdir()
    (former / "notes.txt").write_text("an unfinished run")
    with pytest.raises(FileNotFoundError, match=f"{OWN}-seed0 is not a run folder"):
        plan_runs(load_config("toy_grid"), [OWN], 1, tmp_path)
    (former / "notes.txt").unlink()
    (run,) = plan_runs(load_config("toy_grid"), [OWN], 1, tmp_path)
    assert run.folder.path == former


@pytest.mark.parametrize("name", ["a:b", "what?", "a*", "a|b", 'a"b', "<a>", "end.", "end ", "CON", "nul.txt", "com1"])
def test_a_name_that_windows_refuses_is_refused_everywhere(name):
    for config, key in (("toy_grid", "name"), ("supervised/spurious_shapes", "name")):
        with pytest.raises(ValueError, match="must be a folder name that is also valid on Windows"):
            load_config(config, [f"{key}={name}"])


@pytest.mark.parametrize("name", ["shapes #1", "größe", "console", "v1.2", "a+b"])
def test_other_names_are_taken_as_they_are(name):
    assert load_config("toy_grid", [f"name={name}"]).experiment_name == name
