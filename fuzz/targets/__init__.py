"""All targets, by name."""

from __future__ import annotations

from fuzz.target import Target
from fuzz.targets import http1, http2, models, simulated, small, websocket

__all__ = ["TARGETS"]

TARGETS: dict[str, Target] = {
    target.name: target for module in (http1, http2, websocket, small, simulated, models) for target in module.TARGETS
}
