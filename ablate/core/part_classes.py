"""Imports the class of a part by its path, and names it in settings and in fingerprints.

The name in fingerprints (`get_part_name`) must not change when a class is re-exported or its file
is moved, because a new fingerprint means training again. It is, in this order:

1. the class attribute `part`, if the class itself has one: `part = "my_lab.tilted.Tilted"`;
2. `<package>.<ClassName>`, if the top-level package of the class sets `FLAT_PART_NAMES = True`;
3. for classes of `ablate`: the module that defines the class, and the class name;
4. for any other part that was built from settings: the `type` as written there;
5. the module that defines the class, and the class name.
"""

import dataclasses
import importlib
import inspect
import pkgutil
import sys

from ablate.core.suggest import did_you_mean

PACKAGES = ("maskers",)  # that come with ablate, beside its own
_WRITTEN = "_written_type"  # attribute of an instance: the `type` that it was built from


def import_class(path: str) -> type:
    """Imports the class of a part.

    Args:
        path: Its dotted path, such as `maskers.Random`.

    Raises:
        ValueError: If there is no such part; the message suggests similar names.
        Exception: Whatever the module raises while it is imported.
    """
    module_name, _, class_name = path.rpartition(".")
    if not module_name:
        raise ValueError(f"`{path}` is not a dotted path such as `maskers.Random`")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and not (module_name + ".").startswith(error.name + "."):
            raise  # the module exists, but a library that it imports does not
        hint = _suggest_module(error.name or module_name)
        problem = f"no module `{error.name}` on Python's path{hint} (in `{path}`)"
        raise ValueError(problem) from error
    value = getattr(module, class_name, None)
    if not (isinstance(value, type) and dataclasses.is_dataclass(value)):
        parts = [key for key, value in vars(module).items() if is_part(value)]
        raise ValueError(
            f"`{module_name}` has no part `{class_name}`{did_you_mean(class_name, parts)}"
            f"{_describe_hidden_package(module_name)}"
        )
    return value


def _suggest_module(name: str) -> str:
    """Suggests a module of the same package with a similar name; empty if there is none."""
    parent, _, last = name.rpartition(".")
    if not parent:
        choices = {*PACKAGES, "ablate"}
    else:
        package = sys.modules.get(parent)
        choices = {module.name for module in pkgutil.iter_modules(getattr(package, "__path__", ()))}
    hint = did_you_mean(last, choices)
    return hint if hint.startswith(" (did") else ""


def _describe_hidden_package(module_name: str) -> str:
    """Returns which folder hides a package that comes with `ablate`, or nothing."""
    package = module_name.partition(".")[0]
    if package not in PACKAGES or _is_flat(package):
        return ""
    folder = next(iter(getattr(sys.modules[package], "__path__", ())), package)
    return f"; {folder} hides the package `{package}` that comes with ablate: rename the folder"


def is_part(value: object) -> bool:
    """Returns whether a value is a class that settings can name: a concrete dataclass."""
    concrete = isinstance(value, type) and not inspect.isabstract(value)
    return concrete and dataclasses.is_dataclass(value)


def get_part_name(part: object) -> str:
    """Returns the name that a part has in fingerprints, whatever file its class is in."""
    return _get_declared_name(type(part)) or get_type_path(part)


def describe_name_conflict(cls: type) -> str:
    """Returns why the name of a class is not its own, or nothing if it is.

    Two parts of one name would share fingerprints, and one would get the results of the other.
    """
    declared = _get_declared_name(cls)
    path = f"{cls.__module__}.{cls.__qualname__}"
    if declared is not None:
        try:
            other = import_class(declared)
        except Exception:  # a former path of the class, at which nothing is left
            return ""
        if other is not cls:
            return f"`part` of `{path}` is `{declared}`, which is another class; choose a new name"
    package = cls.__module__.partition(".")[0]
    if declared is None and _is_flat(package):
        exported = getattr(sys.modules[package], cls.__qualname__, None)
        if exported is not cls:
            state = "does not export it" if exported is None else "exports another class as that"
            return (
                f"`{package}` sets `FLAT_PART_NAMES`, by which `{path}` is named "
                f"`{get_class_path(cls)}`, but {state}; import the class in "
                f"`{package}/__init__.py`, or give it an attribute `part`"
            )
    return ""


def get_type_path(part: object) -> str:
    """Returns the `type` of a part for its settings: an import path of its class.

    Args:
        part: An instance; `get_class_path` does the same for a class.
    """
    return get_class_path(type(part), written=getattr(part, _WRITTEN, None))


def get_class_path(cls: type, *, written: str | None = None) -> str:
    """Returns the import path of a class, by which settings can name it.

    Args:
        cls: The class of a part.
        written: The path that settings used for it, if it was built from settings.
    """
    package = cls.__module__.partition(".")[0]
    if _is_flat(package):
        return f"{package}.{cls.__qualname__}"
    if written is not None and package != "ablate":
        return written
    return f"{cls.__module__}.{cls.__qualname__}"


def remember_type(part: object, written: str) -> None:
    """Stores the `type` that a part was built from on the part, if its class has no `__slots__`.

    A subclass with `__slots__` has room for it too: no abstract class of a part has slots.
    """
    if hasattr(part, "__dict__"):
        object.__setattr__(part, _WRITTEN, written)  # frozen dataclasses refuse `setattr`


def copy_type(source: object, target: object) -> None:
    """Copies the stored `type` of one part to another of the same class."""
    written = getattr(source, _WRITTEN, None)
    if written is not None:
        remember_type(target, written)


def _is_flat(package: str) -> bool:
    return getattr(sys.modules.get(package), "FLAT_PART_NAMES", False) is True


def _get_declared_name(cls: type) -> str | None:
    declared = vars(cls).get("part")
    is_setting = "part" in getattr(cls, "__dataclass_fields__", {})
    return declared if isinstance(declared, str) and not is_setting else None
