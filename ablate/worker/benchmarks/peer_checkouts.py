"""Imports the modules of other code from its checkouts, which are no part of this package."""

import importlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

PACKAGE = "src"  # the package of both peers


class PeerError(Exception):
    """The code of a peer cannot be used; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Other code whose training step is measured."""

    name: str
    folder: str  # name of the checkout
    address: str
    commit: str  # on which the figures of docs/performance.md were measured
    libraries: tuple[str, ...]  # beyond those of this package, as on PyPI

    @property
    def checkout_command(self) -> str:
        """The command that makes the checkout in the current folder."""
        return (
            f"git clone {self.address} {self.folder} && git -C {self.folder} checkout {self.commit}"
        )


IJEPA = Peer(
    name="I-JEPA",
    folder="ijepa",
    address="https://github.com/facebookresearch/ijepa",
    commit="52c1ae95d05f743e000e8f10a1f3a79b10cff048",
    libraries=(),
)
AUDIO_JEPA = Peer(
    name="Audio-JEPA",
    folder="Audio-JEPA",
    address="https://github.com/LudovicTuncay/Audio-JEPA",
    commit="225b816c8d5dd0c6f83ca604b06d67976fa3e4d2",
    libraries=("h5py", "av"),
)


def import_modules(
    peer: Peer,
    folder: Path,
    names: Sequence[str],
    *,
    replaced: dict[str, ModuleType] | None = None,
) -> list[ModuleType]:
    """Imports modules of a peer's package `src`, apart from those of other peers.

    The files `__init__.py` are not run: they import tools for training that a step does not need.

    Args:
        peer: Whose modules.
        folder: Holds the checkouts of all peers.
        names: Modules below `src`, such as `models.vision_transformer`.
        replaced: Modules that its code imports but that are not installed here, by name.

    Raises:
        PeerError: There is no checkout, or a library is missing.
    """
    checkout = folder / peer.folder
    if not (checkout / PACKAGE).is_dir():
        raise PeerError(f"{peer.name} is not at {checkout}: cd {folder} && {peer.checkout_command}")
    with _isolated_package(checkout, replaced or {}):
        try:
            return [importlib.import_module(f"{PACKAGE}.{name}") for name in names]
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == PACKAGE:
                raise PeerError(
                    f"{peer.name} at {checkout} has no module {error.name}: "
                    f"git -C {checkout} checkout {peer.commit}"
                ) from error
            install = " ".join(peer.libraries) or error.name
            raise PeerError(
                f"{peer.name} needs {error.name}, which is not installed: pip install {install}"
            ) from error


def describe_other_commit(peer: Peer, folder: Path) -> str | None:
    """Describes at which other commit than the published one a checkout is; None if it is not."""
    command = ["git", "-C", str(folder / peer.folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return f"{peer.name} is not in a git checkout; {peer.commit} was to be measured"
    commit = done.stdout.strip()
    return None if commit == peer.commit else f"{peer.name} is at {commit}, not at {peer.commit}"


@contextmanager
def _isolated_package(checkout: Path, replaced: dict[str, ModuleType]) -> Iterator[None]:
    """Makes `src` the package of a checkout; afterwards, modules are as they were."""
    before = {name: module for name, module in sys.modules.items() if _is_peers(name, replaced)}
    for name in before:
        del sys.modules[name]
    sys.modules.update(replaced)
    root = checkout / PACKAGE
    for folder in (root, *sorted(path for path in root.rglob("*") if path.is_dir())):
        name = ".".join((PACKAGE, *folder.relative_to(root).parts))
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_peers(name, replaced)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_peers(name: str, replaced: dict[str, ModuleType]) -> bool:
    return name.split(".")[0] == PACKAGE or name in replaced
