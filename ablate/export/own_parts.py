"""Custom parts of an encoder, whose classes are not of `ablate`, and their source."""

import importlib
import importlib.util
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablate.core.records.export import ExportedEncoder

SOURCE = "source"  # the folder of Python files in an export


def find_own_modules(settings: Any) -> list[str]:
    """Lists the top-level modules of parts in settings that are not of `ablate`, sorted."""
    return sorted(set(_list_modules(settings)) - {"ablate"})


def copy_source(modules: list[str], folder: Path) -> list[str]:
    """Copies the Python files of top-level modules; returns their paths in `folder`.

    Raises `ValueError` for a module that is not found or has no Python file.
    """
    files: list[str] = []
    for module in modules:
        spec = importlib.util.find_spec(module)
        roots = list(spec.submodule_search_locations or []) if spec is not None else []
        if roots:
            sources = {file: file.relative_to(Path(roots[0]).parent) for file in _list_files(roots)}
        elif spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            sources = {Path(spec.origin): Path(spec.origin).name}  # type: ignore[dict-item]
        else:
            raise ValueError(f"the source of module `{module}` cannot be found")
        for file, name in sources.items():
            target = folder / SOURCE / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            files.append(f"{SOURCE}/{Path(name).as_posix()}")
    return sorted(files)


def import_own_parts(record: ExportedEncoder, folder: Path, *, trust_source: bool) -> None:
    """Makes the modules of own parts importable.

    Raises `ValueError` for a module that is neither installed nor in the folder, and for one in the
    folder that is not trusted.
    """
    for module in record.modules:
        if importlib.util.find_spec(module) is not None:
            continue
        if not record.source:
            raise ValueError(
                f"this encoder has parts of the module `{module}`, which is not installed; install "
                "it, or export the encoder with its source (`ablate export --with-source`)"
            )
        if not trust_source:
            raise ValueError(
                f"this encoder has parts of the module `{module}`, whose source is in "
                f"`{folder / SOURCE}`; read it, and pass `trust_source=True` to run it"
            )
        sys.path.append(str(folder / SOURCE))
        importlib.invalidate_caches()


def _list_modules(settings: Any) -> Iterator[str]:
    if isinstance(settings, Mapping):
        kind = settings.get("type")
        if isinstance(kind, str) and "." in kind:
            yield kind.split(".")[0]
        for value in settings.values():
            yield from _list_modules(value)
    elif isinstance(settings, list):
        for value in settings:
            yield from _list_modules(value)


def _list_files(roots: list[str]) -> list[Path]:
    return [file for root in roots for file in sorted(Path(root).rglob("*.py"))]
