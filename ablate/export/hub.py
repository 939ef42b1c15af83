"""Finds encoders in folders or on the Hugging Face Hub, and uploads them.

`huggingface_hub` is imported only for what is not in a folder: `pip install 'ablate-jepa[hub]'`.
"""

import importlib.util
from pathlib import Path

from ablate.core.distribution import format_install_command


def find_folder(name: str | Path, revision: str | None = None) -> Path:
    """Returns the folder of an encoder; downloads a repository of the Hub that is not a folder.

    Raises:
        ValueError: If it is not a folder and cannot be the name of a repository.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    if isinstance(name, Path) or name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ValueError(f"`{name}` is not a folder, nor the name of a repository, `owner/name`")
    _check_library(f"`{name}` is not a folder; to download it from the Hugging Face Hub")
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, revision=revision))


def upload_folder(folder: Path, name: str, *, private: bool) -> str:
    """Uploads a folder to a repository of the Hub; returns its address."""
    _check_library("to upload an encoder")
    from huggingface_hub import HfApi

    api = HfApi()
    address = str(api.create_repo(name, private=private, exist_ok=True))
    api.upload_folder(repo_id=name, folder_path=folder)
    return address


def _check_library(purpose: str) -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ValueError(f"{purpose}, install `huggingface_hub`: {format_install_command('hub')}")
