"""Rewrites a study's file with another name and other seeds; comments and style stay."""

import io
from collections.abc import Collection, Sequence

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq


def rewrite_study(text: str, name: str, seeds: Sequence[int], *, without: Collection[str]) -> str:
    """Returns the text of a valid study with another name and seeds, without some keys."""
    yaml = YAML()
    yaml.width = 100
    yaml.preserve_quotes = True
    tree = yaml.load(text)
    for key in without:
        tree.pop(key, None)
    tree["study"], tree["seeds"] = name, CommentedSeq(seeds)
    tree["seeds"].fa.set_flow_style()
    written = io.StringIO()
    yaml.dump(tree, written)
    return written.getvalue()
