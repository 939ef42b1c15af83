"""Modules import only what their layer allows, by their sources and by what they load."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# top to bottom; a unit (a folder of `ablate`, or a single module) imports from layers below its own
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__", "study.__main__"),
    ("cli",),
    ("dashboards",),
    ("study",),
    ("sweep",),
    ("slurm",),
    ("executors", "report", "worker"),
    ("runs", "training", "export", "mask_analysis", "testing"),
    ("probing",),
    ("model", "design"),
    ("audio", "config", "model.masking"),
    ("parts",),
    ("core",),
)
# code that runs on a login node: it loads no torch, and exchanges JSON with worker processes
TORCH_FREE = {
    *("__main__", "study.__main__", "cli", "dashboards", "study", "sweep", "slurm"),
    *("executors", "report", "runs", "design", "config"),
}
TORCH_FREE_BELOW = (
    *("core.cores", "core.cpu_features", "core.distribution", "core.environment"),
    *(
        "core.fast_imports",
        "core.git",
        "core.io",
        "core.machine_errors",
        "core.nested",
        "core.own_code",
        "core.records",
    ),
    *("core.seeds", "core.suggest"),
)
EXCEPTIONS = {  # commands that only read and write folders, without torch
    *(
        ("ablate.cli.manifest", f"ablate.audio.{name}")
        for name in (
            "manifest_reader",
            "manifest_splits",
            "manifest_summary",
            "manifest_writer",
            "near_duplicates",
        )
    ),
    ("ablate.cli.tools", "ablate.export.export"),
}
THIRD_PARTY = {  # library -> the one place that may import it
    "xformers": ("ablate/model/attention.py",),
    "torchaudio": ("ablate/audio/",),
    "submitit": ("ablate/slurm/",),
    "optuna": ("ablate/sweep/", "ablate/dashboards/"),
    "ruamel": ("ablate/config/",),
    "yaml": ("ablate/config/",),
}
TORCH = {"torch", "torchaudio", "xformers", "einops"}
MASKING = tuple(f"ablate.model.{name}" for name in ("masking", "mask_sampling", "mask_loops"))
MASKERS_IMPORT = {"torch", "einops", "maskers", *sys.stdlib_module_names}

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("ablate", "maskers")
    for path in sorted((ROOT / package).rglob("*.py"))
}
MODULES = [name for name in FILES if name.startswith("ablate.")]


def find_imports(path: Path) -> Iterator[str]:
    """Yields the modules that a file imports, at the top or within functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in names if name in FILES]
            yield from modules or [node.module]


def find_own_imports(path: Path) -> list[str]:
    return [name for name in find_imports(path) if name in FILES and name != "ablate"]


def get_unit(module: str) -> str:
    """Returns the unit of `LAYERS` that a module belongs to: itself, or its folder."""
    inner = module.removeprefix("ablate.")
    listed = {name for layer in LAYERS for name in layer}
    return inner if inner in listed else inner.split(".")[0]


def get_layer(module: str) -> int:
    """Returns the index of the layer that a module belongs to; 0 is the top."""
    layers = [i for i, units in enumerate(LAYERS) if get_unit(module) in units]
    assert layers, f"{module} is in no layer; add it to LAYERS in {Path(__file__).name}"
    return layers[0]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_layers_below_its_own(module: str) -> None:
    for name in find_own_imports(FILES[module]):
        below = get_layer(name) > get_layer(module) or get_unit(name) == get_unit(module)
        assert below, f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in MODULES if get_unit(name) in TORCH_FREE])
def test_code_of_the_login_node_imports_no_torch(module: str) -> None:
    for name in find_own_imports(FILES[module]):
        inner = name.removeprefix("ablate.")
        allowed = get_unit(name) in TORCH_FREE or inner.startswith(TORCH_FREE_BELOW)
        assert allowed or (module, name) in EXCEPTIONS, f"{module} imports {name}"
    assert not TORCH & {name.split(".")[0] for name in find_imports(FILES[module])}


@pytest.mark.parametrize("module", MODULES)
def test_the_package_never_imports_the_maskers(module: str) -> None:
    assert not [name for name in find_imports(FILES[module]) if name.split(".")[0] == "maskers"]


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("maskers")])
def test_maskers_import_only_the_masker_contract_of_the_package(module: str) -> None:
    for name in find_imports(FILES[module]):
        allowed = name in MASKING or name.split(".")[0] in MASKERS_IMPORT
        assert allowed, f"{module} imports {name}"


@pytest.mark.parametrize("library", THIRD_PARTY)
def test_a_third_party_library_is_imported_in_one_place(library: str) -> None:
    for path in FILES.values():
        if library in {name.split(".")[0] for name in find_imports(path)}:
            assert path.relative_to(ROOT).as_posix().startswith(THIRD_PARTY[library]), path


def test_tensorboard_is_imported_in_one_file() -> None:
    names = ("tensorboard", "torch.utils.tensorboard")
    users = [
        path
        for path in FILES.values()
        if any(name.startswith(names) for name in find_imports(path))
    ]
    assert len(users) <= 1


def test_no_import_forms_a_cycle() -> None:
    graph = {module: find_own_imports(path) for module, path in FILES.items()}
    finished: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in finished:
            for name in graph[module]:
                visit(name, (*above, module))
            finished.add(module)

    for module in graph:
        visit(module, ())


def find_loaded_modules(code: str, expression: str) -> list[str]:
    """Imports modules in a new process; returns the loaded ones that an expression selects."""
    code = f"import sys, {code}\nprint(*sorted({expression}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_code_of_the_login_node_loads_without_torch() -> None:
    modules = [name for name in MODULES if get_unit(name) in TORCH_FREE]
    assert find_loaded_modules(", ".join(modules), f"{TORCH} & set(sys.modules)") == []


def test_importing_the_package_loads_none_of_its_modules() -> None:
    loaded = "[name for name in sys.modules if name.startswith('ablate.')]"
    assert find_loaded_modules("ablate", loaded) == []


def test_planning_cached_clips_loads_nothing_that_only_a_run_needs() -> None:
    needed = "ablate.worker.main, ablate.worker.validation, ablate.audio.synthetic, maskers"
    late = "{'scipy', 'sklearn', 'pandas', 'matplotlib', 'tensorboard'} & set(sys.modules)"
    assert find_loaded_modules(needed, late) == []
