"""Finds the parts of the package, and the settings of parts in a study."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import ablate
from ablate.core.part_classes import is_part
from ablate.training.optimizer import Budget, Optimizer

PACKAGES = ("audio", "model", "probing", "training")


def find_parts() -> Iterator[type]:
    """Yields every part of the package, module by module, without the maskers."""
    modules = [
        importlib.import_module(info.name)
        for package in PACKAGES
        for info in pkgutil.iter_modules([f"{ablate.__path__[0]}/{package}"], f"ablate.{package}.")
    ]
    for module in modules:
        for name, cls in vars(module).items():
            is_own = inspect.isclass(cls) and cls.__module__ == module.__name__
            if is_own and is_part(cls) and not name.startswith(("_", "Abstract")):
                is_of_a_kind = any(base.__name__.startswith("Abstract") for base in cls.__mro__)
                if is_of_a_kind or cls in (Budget, Optimizer):
                    yield cls


def find_typed_settings(value: Any) -> Iterator[dict[str, Any]]:
    """Yields all settings with a `type`, at any depth."""
    if isinstance(value, dict):
        if "type" in value:
            yield value
        for child in value.values():
            yield from find_typed_settings(child)
