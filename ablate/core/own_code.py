"""Finds the source of a user's own parts: modules that are not installed, and what they import.

A part is imported from wherever Python finds it: the working folder, `PYTHONPATH`, an editable
install. Jobs on a cluster get a copy of that code, and runs keep one.
"""

import ast
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

INSTALLED = {"site-packages", "dist-packages"}  # environments are rarely edited between two runs
SKIPPED = {"__pycache__"}
MODULE_SUFFIXES = tuple(importlib.machinery.all_suffixes())
MAX_FILES = 20_000  # per package; more are not code
MAX_BYTES = 200_000_000


@dataclass(frozen=True)
class OwnModule:
    """A top-level module or package whose source lies outside of any environment."""

    name: str
    roots: tuple[Path, ...]  # a file, or the folder of a package, or several of a namespace package

    def list_files(self) -> list[tuple[Path, Path]]:
        """Lists all files but compiled ones, each with its path below a folder of `sys.path`.

        Raises `OwnCodeError` if they are so many, or so large, that they cannot all be code.
        """
        files: list[tuple[Path, Path]] = []
        num_bytes = 0
        for root in self.roots:
            for path in [root] if root.is_file() else _walk(root):
                name = Path(self.name) / path.relative_to(root) if root != path else path.name
                files.append((path, Path(name)))
                num_bytes += path.stat().st_size
                if len(files) > MAX_FILES or num_bytes > MAX_BYTES:
                    raise OwnCodeError(
                        f"package `{self.name}` in {root} has more than {MAX_FILES} files or "
                        f"{MAX_BYTES // 10**6} MB, and each submission copies it; move what is not "
                        "code to another folder"
                    )
        return files

    def list_sources(self) -> list[tuple[Path, Path]]:
        """Lists the Python files among the files. Raises as `list_files`."""
        return [pair for pair in self.list_files() if pair[0].suffix == ".py"]


class OwnCodeError(ValueError):
    """A module can be imported here, but its files cannot be copied."""


def find_own_modules(parts: Iterable[str]) -> list[OwnModule]:
    """Finds the modules of parts, and those that they import, without the installed ones.

    Imports are read from the source, also those within functions, so that nothing is executed. An
    import whose module is not found, as in a `try` block, is passed over.

    Args:
        parts: dotted paths of classes, such as `my_lab.tilted.Tilted`.

    Raises:
        OwnCodeError: a module lies in an archive, or beside too many other files.
    """
    todo = sorted({part.partition(".")[0] for part in parts} - {"ablate"})
    modules: dict[str, OwnModule | None] = {"ablate": None}
    while todo:
        name = todo.pop()
        if name not in modules:
            modules[name] = module = find_module(name)
            if module is not None and name != "maskers":
                todo += [new for new in _find_imports(module) if new not in modules]
    return [module for _, module in sorted(modules.items()) if module is not None]


def find_module(name: str) -> OwnModule | None:
    """Finds a top-level module; None if it is installed, built in, or missing.

    Raises `OwnCodeError`.
    """
    if name in sys.stdlib_module_names:
        return None
    spec = _find_spec(name)
    if spec is None or spec.origin in ("built-in", "frozen"):
        return None
    if spec.submodule_search_locations is not None:
        places = [Path(location).absolute() for location in spec.submodule_search_locations]
        roots = [place for place in places if not INSTALLED & set(place.parts)]
    else:
        path = Path(spec.origin or "").absolute()
        places = [path] if path.name.endswith(MODULE_SUFFIXES) else []
        roots = [place for place in places if not INSTALLED & set(place.parts)]
    if any(not root.exists() for root in roots) or not places:
        raise OwnCodeError(
            f"module `{name}` is in {spec.origin or places}, whose files cannot be copied; install "
            "it as a package, or put it into a folder"
        )
    return OwnModule(name, tuple(roots)) if roots else None


def _find_spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Finds a module as a worker of this process would: in the working folder first.

    The entry point `ablate` does not have the working folder in `sys.path`, `python -m` has.
    """
    folders = [] if sys.flags.safe_path else [os.getcwd()]  # noqa: PTH109  (as Python does)
    importlib.invalidate_caches()
    spec = importlib.machinery.PathFinder.find_spec(name, [*folders, *sys.path])
    if spec is not None:
        return spec
    try:
        return importlib.util.find_spec(name)  # finders of editable installs
    except (ImportError, ValueError):
        return None


def _find_imports(module: OwnModule) -> set[str]:
    """Returns the top-level names that the source of a module imports; broken files have none."""
    names: set[str] = set()
    for path, _ in module.list_sources():
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            names.update(_list_names(node))
    return {name.partition(".")[0] for name in names if name} - {module.name}


def _list_names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(name), level=0):
            yield name
        case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(str(name)), *_]):
            yield name
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__"), args=[ast.Constant(str(name)), *_]
        ):
            yield name


def _walk(root: Path) -> Iterator[Path]:
    """Yields the files below a folder; each folder once, however many links lead to it."""
    visited: set[str] = set()
    for folder, names, files in os.walk(root, followlinks=True):
        if (real := os.path.realpath(folder)) in visited:
            names.clear()
            continue
        visited.add(real)
        names[:] = sorted(name for name in names if not _is_skipped(name))
        for name in sorted(files):
            path = Path(folder, name)
            if not _is_skipped(name) and path.is_file():
                yield path


def _is_skipped(name: str) -> bool:
    return name in SKIPPED or name.startswith(".") or name.endswith(".pyc")
