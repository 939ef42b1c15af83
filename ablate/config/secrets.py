"""Finds passwords in a study, whose text is published with its report."""

import re
import urllib.parse
from collections.abc import Iterator

from ablate.config.tree import Node
from ablate.config.validation import KeyProblem
from ablate.core.environment import REFERENCE

SECRET_KEYS = re.compile(
    r"(\w+_)?((ssl)?(password|passwd|passphrase|pwd)|(api|secret|private|access)_?key|secret|"
    r"(access|auth|api|secret|bearer|refresh|hf|hub|github|slack|wandb)_?token|credentials)|"
    r"token|auth|webhook",
    re.IGNORECASE,
)
LABELLED = (("factors",), ("notes",))
PASSWORD_RULE = (
    "`{key}` contains a password, which would be written into plan and report; leave it out and "
    "set PGPASSWORD or ~/.pgpass, or write the name of an environment variable, `${NAME}`"
)

WEBHOOK_RULE = (
    "`notify` contains the address of a webhook, with which anybody can post and which would be "
    "written into plan and report; set ABLATE_NOTIFY to it, or write the name of an environment "
    "variable, `${NAME}`"
)


def find_passwords(tree: Node) -> Iterator[KeyProblem]:
    """Yields a problem, without the value, for each text that is or contains a password.

    Those are passwords in URLs, `postgresql://me:SECRET@host` and `?password=SECRET`, texts whose
    key says so, such as `api_key`, and the address of a webhook in `notify`. Names of environment
    variables, `${NAME}`, are none.
    """
    for path, value in _list_texts(tree):
        if path == ("notify",) and "://" in value:
            yield KeyProblem(WEBHOOK_RULE, path)
            continue
        is_label = path[:1] in LABELLED and len(path) <= 3  # the last key is the name of a level
        is_secret = SECRET_KEYS.fullmatch(path[-1]) if path and not is_label else None
        if (is_secret and not REFERENCE.fullmatch(value)) or has_password(value):
            yield KeyProblem(PASSWORD_RULE, path)


def has_password(url: str) -> bool:
    """Returns whether a URL contains a literal password, before its host or in its query."""
    scheme, mark, rest = url.partition("://")
    if not mark or " " in scheme:
        return False
    login, at, _ = rest.rpartition("@")
    query = rest.partition("?")[2].partition("#")[0]
    passwords = [urllib.parse.unquote(login).partition(":")[2]] if at else []
    passwords += [
        value
        for key, value in urllib.parse.parse_qsl(query.replace(";", "&"))
        if SECRET_KEYS.fullmatch(key)
    ]
    return any(password and not REFERENCE.fullmatch(password) for password in passwords)


def _list_texts(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node.value, str):
        yield path, node.value
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from _list_texts(child, (*path, str(index)))
    else:
        for key, child in node.children.items():
            yield from _list_texts(child, (*path, key))
