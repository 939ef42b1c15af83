"""Custom parts of an encoder, whose classes are not of `ablate`, and their source."""

import importlib
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablate.core.nested import find_parts
from ablate.core.own_code import OwnModule, find_own_modules
from ablate.core.records.export import ExportedEncoder

SOURCE = "source"  # the folder of Python files in an export


def list_own_modules(settings: Any) -> list[str]:
    """Lists the top-level modules of parts in settings that are not of `ablate`, sorted."""
    return sorted({part.partition(".")[0] for part in find_parts(settings)} - {"ablate"})


def copy_source(modules: Sequence[str], folder: Path) -> list[str]:
    """Copies the Python files of top-level modules, and of those beside them that they import.

    Of installed modules only the given ones are copied. Returns the paths in `folder`. Raises
    `ValueError` for a module that is not found or has no Python file.
    """
    own = find_own_modules(modules)
    installed = set(modules) - {module.name for module in own}
    files: list[str] = []
    for module in [*own, *map(_find_installed, sorted(installed))]:
        sources = module.list_sources()
        if not sources:
            raise ValueError(f"the source of module `{module.name}` cannot be found")
        for file, name in sources:
            target = folder / SOURCE / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            files.append(f"{SOURCE}/{name.as_posix()}")
    return sorted(files)


def _find_installed(name: str) -> OwnModule:
    spec = importlib.util.find_spec(name)
    places = () if spec is None else spec.submodule_search_locations or (spec.origin or "",)
    return OwnModule(name, tuple(map(Path, filter(None, places))))


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
