"""Registries of things that a configuration selects by name: built in, registered by users, or at a path."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, Generic, TypeVar, cast, overload

from camal_rl.foreign_code import ForeignCode
from camal_rl.spelling import did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by name.

    Names are looked up in this order: built-in things and those added by :meth:`register`, then the entry points of
    installed packages. A name with a colon is the path of an object, ``package.module:name``, which needs no
    registration. Nothing is imported before it is requested.

    Args:
        kind: kind of thing, for messages, such as ``"encoder"``.
        shipped: the built-in things; a text is a path, ``package.module:name`` or a module, that is imported on
            request.
        group: the entry point group in which other packages announce things; ``None``: they cannot.
    """

    def __init__(self, kind: str, shipped: Mapping[str, T | str], group: str | None = None) -> None:
        self.kind, self.group = kind, group
        self._entries: dict[str, T | str] = dict(shipped)
        self._announced_paths: dict[str, str] | None = None

    @overload
    def register(self, name: str) -> Callable[[T], T]: ...

    @overload
    def register(self, name: str, thing: T) -> T: ...

    def register(self, name: str, thing: T | None = None) -> Any:
        """Register a thing under a name; without ``thing``, a decorator.

        The same thing may be registered again, as happens when a worker process runs a module a second time.

        Raises:
            TypeError: the name is not a text, for example because the decorator lacks its parentheses.
            ValueError: the name is taken, or could be the path of an object.
        """
        if not isinstance(name, str):
            raise TypeError(f"register your own {self.kind} under a name that is a text; got {name!r}")
        if not name or ":" in name or name != name.strip():
            raise ValueError(f"the name of your own {self.kind} must be a text without a colon, got {name!r}")
        if thing is None:
            return lambda decorated: self.register(name, decorated)
        if name in self._entries and not _same(self._entries[name], thing):
            raise ValueError(
                f"the name {name!r} already belongs to another {self.kind}; register yours under another name"
            )
        self._entries[name] = thing
        return thing

    def find(self, name: str) -> T:
        """Return the thing with that name or at that path.

        Raises:
            ValueError: the name is unknown, with the nearest known name in the message; or the import fails.
        """
        if ":" in name:
            return cast(T, load_object(name, self.kind))
        if name not in self._entries and name not in self._announced:
            noun = self.kind.rpartition(" ")[2]
            raise ValueError(
                f"unknown {self.kind} {name!r}; {did_you_mean(name, self)}the {noun}{'es' if noun[-1] == 's' else 's'} "
                f"are {', '.join(self) or 'none'}; your own is given as package.module:name"
            )
        entry = self._entries.get(name, self._announced.get(name))
        if isinstance(entry, str):
            loaded = cast(T, load_object(entry, self.kind) if ":" in entry else _module(entry, entry, self.kind))
            # The imported module may have registered the thing itself.
            registered = self._entries.get(name)
            entry = loaded if registered is None or isinstance(registered, str) else registered
            self._entries[name] = entry
        return cast(T, entry)

    def name_of(self, thing: object) -> str | None:
        """Return the name of a thing, ``None`` if it has none so far; nothing is imported."""
        return next((name for name, known in self._entries.items() if known is thing), None)

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise KeyError(name)
        return self.find(name)

    def __iter__(self) -> Iterator[str]:
        return iter(list({**self._entries, **self._announced}))

    def __len__(self) -> int:
        return len({**self._entries, **self._announced})

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._announced

    @property
    def _announced(self) -> Mapping[str, str]:
        """Paths of things that installed packages announce; read once, since it reads the files of every package."""
        if self._announced_paths is None:
            points = () if self.group is None else entry_points(group=self.group)
            # Extras, `package.module:name [extra]`, say nothing here.
            self._announced_paths = {point.name: point.value.partition("[")[0].strip() for point in points}
        return self._announced_paths


def load_object(path: str, kind: str = "object") -> Any:
    """Import the object at ``package.module:name``.

    Args:
        path: path of the object; the name may be dotted.
        kind: kind of object, for messages.

    Raises:
        ValueError: the module or name does not exist, or the module's own code fails; the message says which.
    """
    module_name, _, attribute = path.partition(":")
    parts = [*module_name.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise ValueError(f"the path of your own {kind} must be package.module:name, got {path!r}")
    found: Any = _module(module_name, path, kind)
    where = getattr(found, "__file__", None)
    for part in attribute.split("."):
        if not hasattr(found, part):
            hint = did_you_mean(part, dir(found)).rstrip()
            beside = f" ({where})" if where else ""
            raise ValueError(
                f"there is no {attribute!r} in {module_name}{beside} for the {kind} {path!r}{'; ' * bool(hint)}{hint}"
            )
        found = getattr(found, part)
    return found


def import_modules(names: Iterable[str]) -> None:
    """Import modules, so that they can register things.

    Raises:
        ValueError: a module does not exist, or its own code fails.
    """
    for name in names:
        _module(name, name, "list of imports")


def _module(name: str, path: str, kind: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError(f"the name of a module must be package.module, got {name!r}")
    wanted = f"cannot import {name!r} for the {kind}{'' if path == name else f' {path!r}'}"
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise ValueError(f"{wanted}: it needs {missing!r}, which is not installed") from error
        raise ValueError(
            f"{wanted}: there is no module {missing!r} in the folder where Python was started, and none is installed"
        ) from error
    except ForeignCode:
        raise
    except Exception as error:  # a user's module may raise anything
        last = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {error}"
        at = "" if isinstance(error, SyntaxError) else f" ({last.filename}, line {last.lineno})"
        raise ValueError(f"{wanted}: {told}{at}") from error


def _same(known: object, thing: object) -> bool:
    """Return whether two objects are identical, one definition executed twice, or a path and its object.

    Two records are one definition if all their fields are.
    """
    if known is thing:
        return True
    known, thing = (getattr(each, "__wrapped__", each) for each in (known, thing))
    if is_dataclass(thing) and type(known) is type(thing) and not isinstance(thing, type):
        pairs = [(getattr(known, each.name), getattr(thing, each.name)) for each in fields(thing)]
        return all(ours == theirs or _same(ours, theirs) for ours, theirs in pairs)
    module, name = (getattr(thing, key, None) for key in ("__module__", "__qualname__"))
    if isinstance(known, str):
        return known == f"{module}:{name}"
    names = [(getattr(each, "__qualname__", None), _home(each)) for each in (known, thing)]
    return names[0] == names[1] and None not in names[0]


def _home(thing: object) -> str | None:
    """Return the module of a class or function; the main program has another module name in its workers."""
    module = getattr(thing, "__module__", None)
    return None if module is None else str(module).replace("__mp_main__", "__main__")
