"""What must always hold, each as a small class named after its invariant."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sansio_pingora.testing.driver import Driver
    from sansio_pingora.testing.world import World

__all__ = ["Oracle"]


class Oracle:
    """A judge of a world: it looks, and calls ``world.broken`` when its invariant does not hold."""

    invariant = ""
    every_step = False
    """Whether :meth:`settled` is wanted."""

    def settled(self, world: World, driver: Driver) -> None:
        """A lane has settled after an input."""

    def quiescent(self, world: World) -> None:
        """Nothing will happen any more."""
