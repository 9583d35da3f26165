"""Registries: what ships, what a user registers, what installed packages announce, and paths of objects."""

import sys
from importlib.metadata import EntryPoint

import pytest

import camal_rl.registry
from camal_rl.registry import Registry, import_modules, load_object

FRUIT = "fruit"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return what writes a module of an own package ``orchard``, which can then be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "orchard"
    folder.mkdir()
    (folder / "__init__.py").touch()
    yield lambda name, text: (folder / f"{name}.py").write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "orchard"]:
        del sys.modules[name]


def announced(monkeypatch, **paths):
    points = [EntryPoint(name, value, "orchard.fruit") for name, value in paths.items()]
    monkeypatch.setattr(camal_rl.registry, "entry_points", lambda group: points if group == "orchard.fruit" else [])
    return Registry(FRUIT, {"apple": 1}, "orchard.fruit")


def test_shipped_things_are_there_and_paths_are_imported_when_asked_for():
    registry = Registry(FRUIT, {"apple": 1, "pi": "math:pi", "late": "no_such_module:x"})
    assert list(registry) == ["apple", "pi", "late"]
    assert len(registry) == 3
    assert "late" in registry
    assert registry.find("pi") == registry["pi"] == __import__("math").pi
    with pytest.raises(ValueError, match="there is no module 'no_such_module'"):
        registry.find("late")


def test_an_unknown_name_names_the_nearest_and_says_how_to_give_an_own_one():
    registry = Registry(FRUIT, {"apple": 1, "pear": 2})
    with pytest.raises(ValueError, match=r"unknown fruit 'appel'; did you mean 'apple'\? the fruits are apple, pear"):
        registry.find("appel")
    with pytest.raises(KeyError):
        registry["appel"]
    assert registry.get("appel") is None


def test_register_takes_a_thing_and_decorates():
    registry = Registry(FRUIT, {"apple": 1})

    @registry.register("plum")
    def plum():
        pass

    assert registry.register("fig", 3) == 3
    assert registry["plum"] is plum
    assert registry.name_of(plum) == "plum"
    assert registry.name_of(object()) is None
    assert list(registry) == ["apple", "plum", "fig"]


@pytest.mark.parametrize("name", ["", "a:b", " fig", "fig\n"])
def test_names_that_could_be_paths_or_cannot_be_seen_are_refused(name):
    with pytest.raises(ValueError, match="a text without a colon"):
        Registry(FRUIT, {}).register(name, 1)


def test_a_decorator_without_parentheses_is_refused():
    with pytest.raises(TypeError, match="under a name that is a text"):

        @Registry(FRUIT, {}).register
        def plum():
            pass


def test_a_taken_name_is_refused_and_the_same_definition_may_come_again(package):
    registry = Registry(FRUIT, {"apple": 1})
    with pytest.raises(ValueError, match="the name 'apple' already belongs to another fruit"):
        registry.register("apple", 2)
    package("trees", "class Plum: pass\n")
    first = load_object("orchard.trees:Plum")
    registry.register("plum", first)
    del sys.modules["orchard.trees"]
    again = load_object("orchard.trees:Plum")
    assert again is not first
    assert registry.register("plum", again) is again
    with pytest.raises(ValueError, match="already"):
        registry.register("plum", type("Plum", (), {}))


def test_paths_need_no_registration(package):
    package("trees", "class Plum:\n    class Stone: pass\n")
    registry = Registry(FRUIT, {})
    assert registry.find("orchard.trees:Plum").__name__ == "Plum"
    assert registry.find("orchard.trees:Plum.Stone").__name__ == "Stone"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("orchard.trees:Plun", r"no 'Plun' in orchard.trees \(.*trees.py\) for the fruit .*; did you mean 'Plum'\?$"),
        ("orchard.tree:Plum", "there is no module 'orchard.tree'"),
        ("nowhere.trees:Plum", "there is no module 'nowhere'"),
        ("orchard.hungry:Plum", "it needs 'no_such_dependency', which is not installed"),
        ("orchard.broken:Plum", r"cannot import 'orchard.broken' for the fruit .*: NameError: .*broken.py, line 1\)$"),
        ("orchard.wrong:Plum", "SyntaxError"),
        ("orchard.trees:", "the path of your own fruit must be package.module:name"),
        (":Plum", "the path of your own fruit must be package.module:name"),
        ("a:b:c", "the path of your own fruit must be package.module:name"),
        ("../orchard:Plum", "the path of your own fruit must be package.module:name"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_line_that_says_why(package, path, message):
    package("trees", "class Plum: pass\n")
    package("hungry", "import no_such_dependency\n")
    package("broken", "nonsense\n")
    package("wrong", "def\n")
    with pytest.raises(ValueError, match=message) as refusal:
        Registry(FRUIT, {}).find(path)
    assert "\n" not in str(refusal.value)


def test_installed_packages_announce_theirs_and_what_ships_wins(monkeypatch, package):
    package("trees", "class Plum: pass\n")
    registry = announced(monkeypatch, plum="orchard.trees:Plum [tasty]", apple="orchard.trees:Plum", wood="orchard")
    assert list(registry) == ["apple", "plum", "wood"]
    assert "plum" in registry
    assert "orchard.trees" not in sys.modules
    assert registry["apple"] == 1
    assert registry["plum"].__name__ == "Plum"
    assert registry["plum"] is registry["plum"]
    assert registry["wood"].__name__ == "orchard"


def test_an_announced_module_may_register_itself(monkeypatch, package):
    package(
        "trees", "from tests.method.test_registry import REGISTRIES\n@REGISTRIES[0].register('plum')\nclass P: pass\n"
    )
    registry = announced(monkeypatch, plum="orchard.trees:P")
    REGISTRIES[:] = [registry]
    assert registry.find("plum").__name__ == "P"


REGISTRIES = []


def test_imports_are_modules(package):
    package("trees", "")
    import_modules(["orchard.trees"])
    assert "orchard.trees" in sys.modules
    with pytest.raises(ValueError, match=r"cannot import 'orchard.bushes' for the list of imports: there is no module"):
        import_modules(["orchard.bushes"])
    with pytest.raises(ValueError, match=r"the name of a module must be package.module, got 'orchard/trees.py'"):
        import_modules(["orchard/trees.py"])
