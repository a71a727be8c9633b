"""YAML as nodes with their places, typed by the core schema of YAML 1.2."""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["compose", "place_of", "scalar_value"]

_STR = "tag:yaml.org,2002:str"
_PLAIN_TAGS = frozenset({_STR, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
# YAML 1.2.2 section 10.3.2. What matches none of these is a string: `no`, `22:22`, `1_000`.
_NULL = re.compile(r"(?:null|Null|NULL|~|)\Z")
_TRUE = re.compile(r"(?:true|True|TRUE)\Z")
_FALSE = re.compile(r"(?:false|False|FALSE)\Z")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCT = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_MAX_DIGITS = 400
"""Of a number; int() refuses 4,301 with a text that is not ours."""


class _Loader(yaml.SafeLoader):
    """Leaves plain scalars as text: PyYAML's own reading of them is that of YAML 1.1."""


_Loader.yaml_implicit_resolvers = {}


def compose(text: str, name: str) -> yaml.Node | None:
    """The root node of *text*; None where there is nothing in it.

    :raises ValueError: no YAML; the message begins with *name* and the place.
    """
    try:
        loader = _Loader(text)
        try:
            root: yaml.Node | None = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark is not None else name
        raise ValueError(
            f"{where} this is not YAML: {exc.problem or exc.context}; check indentation and quotes"
        ) from exc
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise ValueError(f"{name}:{line}:1 a character that YAML forbids: {exc.reason}; remove it") from exc
    except RecursionError as exc:
        raise ValueError(f"{name}:1:1 nested too deeply: a configuration has four levels or so") from exc
    return root


def place_of(node: yaml.Node, name: str) -> str:
    """Where *node* begins: file, line and column."""
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def scalar_value(node: yaml.Node) -> Any:
    """None, a bool, int, float or str.

    :raises ValueError: no scalar, or one with a tag.
    """
    if node.tag not in _PLAIN_TAGS:
        raise ValueError(f"the tag {node.tag!r} has no meaning here: write the value without it")
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(
            f"a single value belongs here, not a {'list' if isinstance(node, yaml.SequenceNode) else 'map'}"
        )
    text: str = node.value
    if node.style is not None:  # quoted, or a block
        return text
    if _NULL.match(text):
        return None
    if _TRUE.match(text):
        return True
    if _FALSE.match(text):
        return False
    if len(text) <= _MAX_DIGITS:
        if _INT.match(text):
            return int(text)
        if _OCT.match(text):
            return int(text, 0)
        if _HEX.match(text):
            return int(text, 0)
        if _FLOAT.match(text):
            return float(text)
    return text
