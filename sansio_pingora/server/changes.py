"""What differs between two configurations, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from sansio_pingora.server.conf import ServerConf, ServiceConf

__all__ = ["changed_keys"]


def changed_keys(old: ServerConf, new: ServerConf) -> list[str]:
    """Paths of what differs: ``threads``, ``limits.max_head``, ``services.edge.via``.

    A whole service that is new or gone is so marked.
    """
    return [*_of(old, new, "services"), *_of_services(old.services, new.services)]


def _of_services(old: tuple[ServiceConf, ...], new: tuple[ServiceConf, ...]) -> Iterator[str]:
    before, after = ({one.name: one for one in services} for services in (old, new))
    for name in before:
        if name not in after:
            yield f"services.{name} (gone)"
    for name, service in after.items():
        if name not in before:
            yield f"services.{name} (new)"
        else:
            yield from (f"services.{name}.{key}" for key in _of(before[name], service))
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield "services (their order)"


def _of(old: Any, new: Any, *but: str) -> Iterator[str]:
    """What differs between two values of one dataclass, and in the mappings that it has."""
    for one in fields(old):
        before, after = getattr(old, one.name), getattr(new, one.name)
        if not one.compare or one.name in but or before == after:
            continue
        if isinstance(before, Mapping):
            keys = (key for key in {**before, **after} if before.get(key) != after.get(key))
            yield from (key if one.name == "options" else f"{one.name}.{key}" for key in keys)
        else:
            yield one.name
