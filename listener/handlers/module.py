"""
Importing a user's module by its dotted name, with the folder of ``config.toml`` first on the path.

One message for each way in which it can fail, each in one line: the traceback of an import tells a user less than the
place in his own file.
"""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from listener.errors import ConfigError
from listener.rules.nearest import suggestion


def import_from(folder: Path, name: str) -> ModuleType:
    """
    Import a module; the folder's own comes before an installed one of the same name.

    Raises:
        ConfigError: it is not there, or raised while it was imported.
    """
    place = str(folder.absolute())
    if sys.path[:1] != [place]:
        sys.path.insert(0, place)
    importlib.invalidate_caches()  # the folder may be younger than the process
    try:
        _prefer_own(place, name.partition(".")[0])
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _failed(name, error, place) from error
        raise ConfigError(f"no module {name}{suggestion(name, _beside(place, name))}") from error
    except (Exception, SystemExit) as error:  # the user's code may raise anything, and must not end us in silence
        raise _failed(name, error, place) from error


def _prefer_own(place: str, top: str) -> None:
    """
    Make sure that ``import top`` means the folder's.

    Being first on the path is not enough: a package of that name may be imported already, and a folder without
    ``__init__.py`` comes after every installed package.
    """
    spec = PathFinder.find_spec(top, [place])
    if spec is None:
        return
    if top == __name__.partition(".")[0] or top in sys.stdlib_module_names:
        if _places(spec) != _places(getattr(sys.modules.get(top), "__spec__", None)):
            raise ConfigError(
                f"{_places(spec)[0]} has the name of a module that Python or the listener needs; rename it"
            )
        return
    if _places(spec) == _places(getattr(sys.modules.get(top), "__spec__", None)):
        return
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]
    module = importlib.util.module_from_spec(spec)
    if spec.submodule_search_locations is not None:
        module.__path__ = list(spec.submodule_search_locations)  # a namespace's own list would look elsewhere later
    sys.modules[top] = module
    if spec.loader is not None:
        _execute(spec, module)


def _execute(spec: ModuleSpec, module: ModuleType) -> None:
    try:
        if spec.loader is not None:
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]  # as the import statement does: half a module is none
        raise


def _places(spec: ModuleSpec | None) -> list[str]:
    if spec is None:
        return []
    return [str(Path(place)) for place in spec.submodule_search_locations or [spec.origin or ""]]


def _beside(place: str, name: str) -> Iterator[str]:
    """List the modules that may have been meant: the folder's own, and those of an installed package so far found."""
    for path in [*Path(place).glob("*.py"), *Path(place).glob("*/*.py")]:
        dotted = path.relative_to(place).with_suffix("").parts
        if all(part.isidentifier() and not part.startswith("__") for part in dotted):
            yield ".".join(dotted)
    parent, _, _ = name.rpartition(".")
    for found in pkgutil.iter_modules(getattr(sys.modules.get(parent), "__path__", [])):
        yield f"{parent}.{found.name}"


def _failed(name: str, error: BaseException, place: str) -> ConfigError:
    """Name the line of the user's own code at which the import ended."""
    if isinstance(error, ConfigError):
        return error
    reason = (str(error).splitlines() or [""])[0]
    said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return ConfigError(
            f"{name} cannot be imported: {error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
        )
    frames = [frame for frame in extract_tb(error.__traceback__) if frame.filename.startswith(place)]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    return ConfigError(f"{name} cannot be imported: {where}{said}")
