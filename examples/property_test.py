"""A property test: however the network cuts a stream of requests, the engine says and sends the same.

pytest examples/property_test.py
"""

from hypothesis import given

from sansio_pingora.session import ServerConnection
from sansio_pingora.testing import feed
from sansio_pingora.testing import strategies as st


@given(st.http1_pipelines(), st.cuts())
def test_cutting_never_matters(raw, cuts):
    assert feed(ServerConnection(now=0.0), [raw]) == feed(ServerConnection(now=0.0), cuts(raw))
