"""From a file to a :class:`ServerConf`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from sansio_pingora.server.conf import ConfError, ServerConf
from sansio_pingora.server.conf_keys import KEYS, ROOT
from sansio_pingora.server.kinds import ListOf, Reading, Record, Refused, suggestion
from sansio_pingora.server.yaml_nodes import compose

__all__ = ["ENVIRONMENT_PREFIX", "check_values", "conf_from_yaml", "json_schema", "load_conf"]

ENVIRONMENT_PREFIX = "SANSIO_PINGORA_"
"""``SANSIO_PINGORA_THREADS=2`` and ``SANSIO_PINGORA_LIMITS__HEAD_TIMEOUT=5`` go before the file."""
_MAX_BYTES = 4_194_304
"""Of a file: a mistaken path to something else is not read whole."""


def load_conf(path: str, environ: Mapping[str, str] | None = None) -> ServerConf:
    """The configuration in the file at *path*; what *environ* overrides goes before it.

    :raises ConfError: it cannot be read, or used; every problem is one line.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfError([f"{path}: it cannot be read: {exc.strerror}; give the right file with -c"]) from exc
    if len(data) > _MAX_BYTES:
        raise ConfError([f"{path}: it is larger than {_MAX_BYTES:,} bytes: this is no configuration"])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ConfError([f"{path}:{line}:1 it is not UTF-8: save it as that"]) from exc
    return conf_from_yaml(text, path, environ)


def conf_from_yaml(text: str, name: str = "<text>", environ: Mapping[str, str] | None = None) -> ServerConf:
    """The configuration that *text* is, of a file called *name*.

    :raises ConfError: it cannot be used; every problem is one line.
    """
    try:
        root = compose(text, name)
    except ValueError as exc:
        raise ConfError([str(exc)]) from exc
    reading = Reading(name)
    if root is None:
        root = yaml.MappingNode("tag:yaml.org,2002:map", [], _mark(name))
    conf = ROOT.read(root, "", reading)
    overrides = _from_environment({} if environ is None else environ, reading)
    if conf is None:
        raise ConfError(reading.problems)
    values = {key: getattr(conf, key) for key in KEYS if not isinstance(KEYS[key], Refused)}
    limits = {**values["limits"], **overrides.pop("limits", {})}
    whole = ServerConf(
        **{**values, **overrides, "limits": limits},
        places=reading.places,
        warnings=tuple(reading.warnings),
    )
    if reading.problems:
        raise ConfError(reading.problems, whole)
    return whole


def check_values(conf: ServerConf) -> None:
    """Hold a configuration that was made in code to what a file is held to.

    :raises ConfError: a value of the wrong kind, or a limit that there is not.
    """
    usual = ServerConf()
    given = {key: getattr(conf, key) for key, kind in KEYS.items() if not isinstance(kind, Refused)}
    given = {key: value for key, value in given.items() if key != "services" and value != getattr(usual, key)}
    try:
        text = yaml.safe_dump({key: dict(value) if key == "limits" else value for key, value in given.items()})
    except (yaml.YAMLError, TypeError, ValueError) as exc:
        raise ConfError([f"ServerConf: {exc}"]) from exc
    try:
        conf_from_yaml(text)
    except ConfError as exc:
        raise ConfError([f"ServerConf: {one.partition(' ')[2]}" for one in exc.problems]) from None


def _from_environment(environ: Mapping[str, str], reading: Reading) -> dict[str, Any]:
    """Values of scalar keys and limits; the text is typed as in YAML."""
    found: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        key, separator, inner = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        kind = KEYS.get(key)
        if separator:
            kind = KEYS["limits"].keys.get(inner) if key == "limits" and isinstance(KEYS["limits"], Record) else None
        scalars = [one for one, of in KEYS.items() if not isinstance(of, ListOf | Record)]
        if kind is None or isinstance(kind, ListOf | Record):
            hint = suggestion(key, scalars).partition(";")[0]
            reading.problems.append(f"environment:{variable} names no key that has one value{hint}: unset it")
            continue
        mark = _mark(variable)
        of_variable = Reading(f"environment:{variable}")
        node = yaml.ScalarNode("tag:yaml.org,2002:str", environ[variable], mark)
        value = kind.read(node, inner or key, of_variable)
        if not of_variable.problems:
            (limits if separator else found)[inner if separator else key] = value
        reading.problems += [one.replace(":1:1 ", " ", 1) for one in of_variable.problems]
        reading.warnings += [one.replace(":1:1 ", " ", 1) for one in of_variable.warnings]
        reading.places[f"limits.{inner}" if separator else key] = f"environment:{variable}"
    return {**found, "limits": limits} if limits else found


def _mark(name: str) -> yaml.Mark:
    return yaml.Mark(name, 0, 0, 0, "", 0)


def json_schema() -> dict[str, Any]:
    """The configuration as JSON Schema (2020-12), for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sansio-pingora",
        **ROOT.schema(),
    }
