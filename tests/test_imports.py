"""Who may know whom, kept true by reading the sources and by loading them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS: tuple[tuple[str, ...], ...] = (  # from the top; a room imports from floors below its own
    ("cli", "study"),
    ("verbs",),
    ("bench", "zoo", "study_schema", "starter"),
    ("bench_steps",),
    ("watching", "conducting"),
    ("sweeping",),
    ("launching", "reporting"),
    ("designing",),
    ("config",),
    ("schema",),
    ("sections",),
    ("text", "confounds", "giveaways", "rewritten", "protocols", "shipped"),
    ("trial",),  # a process border lies above this line
    ("workshop",),
    ("training", "export"),
    ("probing", "pictures", "testing"),
    ("model",),
    ("audio", "model.masking"),
    ("parts", "chance"),
    ("files", "holding", "suggestion", "checkout"),
)
OFFICE = {room for floor in FLOORS[: FLOORS.index(("trial",))] for room in floor}
# rooms below the border that the office may know, too
AIR = {"files", "holding", "suggestion", "checkout"}
ERRANDS = {  # verbs that read and write folders, not sound or tensors
    ("ablate.verbs.things", "ablate.audio.inventory"),
    ("ablate.verbs.things", "ablate.audio.manifest"),
    ("ablate.verbs.things", "ablate.export.writing"),
}
FOREIGN = {  # library -> the one place that may import it
    "xformers": "ablate/model/attention.py",
    "torchaudio": "ablate/audio/",
    "submitit": "ablate/launching/",
    "optuna": "ablate/sweeping/",
    "ruamel": "ablate/config.py",
    "yaml": "ablate/config.py",
}
HEAVY = {"torch", "torchaudio", "xformers", "einops"}
GUESTS_KNOW = {"torch", "einops", "maskers", *sys.stdlib_module_names}

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("ablate", "maskers")
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(path: Path) -> Iterator[str]:
    """Yields the modules that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in names if name in FILES]
            yield from modules or [node.module]


def room(module: str) -> str:
    inner = module.removeprefix("ablate").removeprefix(".")
    exact = [name for floor in FLOORS for name in floor if name == inner]
    return exact[0] if exact else inner.split(".")[0]


def floor(module: str) -> int:
    found = [i for i, rooms in enumerate(FLOORS) if room(module) in rooms]
    assert found, f"{module} is in no room of the house; give it a floor in {Path(__file__).name}"
    return found[0]


def own(path: Path) -> list[str]:
    return [name for name in imports(path) if name in FILES and name != "ablate"]


IN_HOUSE = [name for name in FILES if name.startswith("ablate.")]


@pytest.mark.parametrize("module", IN_HOUSE)
def test_a_module_imports_only_from_floors_below_its_own(module: str) -> None:
    for name in own(FILES[module]):
        below = floor(name) > floor(module) or room(name) == room(module)
        assert below, f"{module} imports {name}"


@pytest.mark.parametrize("module", [name for name in IN_HOUSE if room(name) in OFFICE])
def test_the_office_knows_nothing_of_the_workshop(module: str) -> None:
    for name in own(FILES[module]):
        known = room(name) in OFFICE | AIR or (module, name) in ERRANDS
        assert known, f"{module} imports {name}"
    assert not HEAVY & {name.split(".")[0] for name in imports(FILES[module])}


@pytest.mark.parametrize("module", IN_HOUSE)
def test_the_house_knows_no_guest(module: str) -> None:
    assert not [name for name in imports(FILES[module]) if name.split(".")[0] == "maskers"]


@pytest.mark.parametrize("module", [name for name in FILES if name.startswith("maskers")])
def test_guests_know_the_contract_and_nothing_else(module: str) -> None:
    for name in imports(FILES[module]):
        known = name == "ablate.model.masking" or name.split(".")[0] in GUESTS_KNOW
        assert known, f"{module} imports {name}"


@pytest.mark.parametrize("library", FOREIGN)
def test_a_foreign_library_has_one_room(library: str) -> None:
    for path in FILES.values():
        if library in {name.split(".")[0] for name in imports(path)}:
            assert path.relative_to(ROOT).as_posix().startswith(FOREIGN[library])


def test_one_file_knows_tensorboard() -> None:
    names = ("tensorboard", "torch.utils.tensorboard")
    users = [
        path for path in FILES.values() if any(name.startswith(names) for name in imports(path))
    ]
    assert len(users) <= 1


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module: own(path) for module, path in FILES.items()}
    finished: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in finished:
            for name in graph[module]:
                visit(name, (*above, module))
            finished.add(module)

    for module in graph:
        visit(module, ())


def test_the_whole_office_loads_without_torch() -> None:
    office = [name for name in IN_HOUSE if room(name) in OFFICE]
    code = f"import sys, {', '.join(office)}\nprint(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, ablate\nprint(*[m for m in sys.modules if m.startswith('ablate.')])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_a_plan_of_cached_clips_waits_for_nothing_that_only_a_run_needs() -> None:
    needed = "ablate.trial, ablate.workshop.planning, ablate.audio.synthetic, maskers"
    late = "{'scipy', 'sklearn', 'pandas', 'matplotlib', 'tensorboard'}"
    code = f"import sys, {needed}\nprint(*sorted({late} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
