"""Recognises errors that the machine causes, not the trial, such as a full disk."""

import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_FULL = "the disk or the quota is full; free some space"
_TOO_LARGE = "the file is too large for this file system, or for `ulimit -f`"
_READ_ONLY = "the file system is read-only; make it writable, or use another folder"
_LOST = "the storage does not answer; check that it is mounted"
_HANDLES = "too many files are open; raise `ulimit -n`, or use fewer workers"
_DENIED = "this user may not use it; change its permissions, or use another folder"
_IN_THE_WAY = "another file or folder has this name; remove it"
REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    errno.EFBIG: _TOO_LARGE,
    errno.EROFS: _READ_ONLY,
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _HANDLES),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO), _LOST),
    **dict.fromkeys((errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH), _LOST),
}
OWN_FILE_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM), _DENIED),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.EEXIST), _IN_THE_WAY),
}


class MachineError(RuntimeError):
    """This machine cannot continue; the message names the cause, the file and the remedy."""


def describe_machine_error(error: BaseException, folders: Iterable[Path]) -> str | None:
    """Returns what a machine cannot do, with file and remedy; None for any other error.

    An operating-system error is the machine's if its code is in `REMEDIES`, or if it concerns a
    file that ablate itself keeps. Errors from which `error` was raised count as well, because
    libraries hide them in exceptions of their own.

    Args:
        error: the exception.
        folders: folders that ablate reads and writes; the first one is named if the error names
            no file.
    """
    own = [folder.absolute() for folder in folders]
    for cause in _list_causes(error):
        if not isinstance(cause, OSError):
            continue
        path = None if cause.filename is None else Path(os.fsdecode(cause.filename)).absolute()
        is_own = path is not None and any(path.is_relative_to(folder) for folder in own)
        remedy = REMEDIES.get(cause.errno or 0)
        if remedy is None and not is_own:
            continue
        remedy = remedy or OWN_FILE_REMEDIES.get(cause.errno or 0, _LOST)
        return f"{path or own[0]}: {cause.strerror or cause}: {remedy}"
    return None


def find_remedy(error: BaseException) -> str | None:
    """Returns what a user can do about an error of the machine; None for any other error.

    Errors from which `error` was raised count as well.
    """
    codes = [cause.errno or 0 for cause in _list_causes(error) if isinstance(cause, OSError)]
    return next((REMEDIES[code] for code in codes if code in REMEDIES), None)


def add_remedy(text: str) -> str:
    """Adds the remedy to a message of Python about an error of the machine, `[Errno 24] ...`.

    Returns any other message as it is.
    """
    code = re.search(r"\[Errno (\d+)\]", text)
    remedy = REMEDIES.get(int(code[1])) if code else None
    return text if remedy is None or remedy in text else f"{text}: {remedy}"


def _list_causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
