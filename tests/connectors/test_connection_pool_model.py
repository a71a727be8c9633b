"""The connection pool against a slow, obvious model, after every step."""

from hypothesis import settings
from hypothesis.stateful import invariant

from sansio_pingora.testing.stateful import PoolMachine


class PoolModel(PoolMachine):
    @invariant()
    def nothing_is_left_behind(self):
        pool = self.pool
        assert set(pool._peers) == {c.key for c in self.conns} | set(self.reserved)
        assert set(pool._entries) == {c.handle for c in self.conns}
        assert len(pool._deadlines._heap) <= 2 * len(self.conns) + 34


TestPoolModel = PoolModel.TestCase
TestPoolModel.settings = settings(stateful_step_count=100)
