"""Scripted peers over TLS: what stands between their script and a link, and how it goes wrong."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from sansio_pingora.errors import Error, ErrorType
from sansio_pingora.testing.link import NOBODY, End, Owner
from sansio_pingora.testing.tls_library import TlsLibrary, TlsSession, authority, issue
from sansio_pingora.tls import Certificates, ClientSettings, ServerSettings, ServerTls
from sansio_pingora.upstreams import ALPN, HttpPeer, PeerOptions

if TYPE_CHECKING:
    from sansio_pingora.testing.prng import Random
    from sansio_pingora.testing.world import Listener, World

__all__ = ["ClientOverTls", "OriginOverTls", "SimulatedTls", "TlsEnd", "TlsMood"]

_PROXY, _ORIGIN = "proxy.example", "origin.test"
_PLAIN = {
    "client": b"GET / HTTP/1.1\r\nHost: proxy.example\r\n\r\n",
    "origin": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
}


class TlsMood:
    """What goes wrong with the TLS of one scripted peer, decided when its link is there."""

    __slots__ = ("damages", "fails", "truncates")

    def __init__(self, rng: Random, side: str, chance: float) -> None:
        kinds: tuple[str, ...] = ("stalls", "sends garbage", "speaks plain text", "leaves amid the handshake")
        if side == "origin":
            kinds += ("shows a wrong name", "shows an unknown authority", "agrees on nothing")
        bad = rng.chance(chance)
        self.fails = rng.pick(kinds) if bad and rng.chance(0.1 * len(kinds)) else ""
        """How the handshake does; empty: it does not."""
        self.truncates = bad and not self.fails and rng.chance(0.5)
        """Ends the transport without close_notify."""
        self.damages = rng.pick((1, 1, 1, 2)) if bad and not self.fails and not self.truncates else 0
        """The number of the write whose last byte is changed on its way; 0: none is."""


class TlsEnd:
    """An end of a link as the script of a peer sees it, with TLS below: the same methods, in plain text.

    *ready* is called with it when the handshake is through, *failed* with the reason where it will not be.
    """

    def __init__(
        self,
        world: World,
        end: End,
        side: str,
        session: Callable[[ssl.MemoryBIO, ssl.MemoryBIO], TlsSession],
        mood: TlsMood,
        rng: Random,
        ready: Callable[[TlsEnd], object],
        failed: Callable[[Error], object],
    ) -> None:
        self.owner: Owner = NOBODY
        self.name, self.address, self.profile = end.name, end.address, end.profile
        self.closed = self.dead = False
        self.established = False
        self._world, self._end, self._side, self._mood, self._rng = world, end, side, mood, rng
        self._ready, self._failed = ready, failed
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = session(self._incoming, self._outgoing)
        self._shut = self._peer_ended = self._begun = self._spoilt = False
        self._writes = 0
        end.owner = self
        end.set_reading(True)
        if side == "client" and not self._spoils():
            self._handshake()

    # ── what a script does ───────────────────────────────────────────────────────────

    @property
    def truncates(self) -> bool:
        """Its end is no end of what it sends."""
        return self._mood.truncates

    @property
    def alpn(self) -> str | None:
        """What was agreed on."""
        return self._session.selected_alpn_protocol()

    @property
    def other(self) -> TlsSession | None:
        """Our side of the link, as far as oracles look at it."""
        return self._session.peer

    def write(self, data: bytes) -> None:
        """See :class:`.link.End`."""
        self._session.write(data)
        self._writes += 1
        raw = self._outgoing.read()
        if self._writes == self._mood.damages:
            self._world.faults.count(f"tls {self._side} record is damaged")
            raw = raw[:-1] + bytes((raw[-1] ^ 1,))
        self._put(raw)

    def shut(self) -> None:
        """See :class:`.link.End`."""
        if not self._shut and not self.dead:
            self._shut = True
            self._say_goodbye()
            self._end.shut()

    def close(self) -> None:
        """See :class:`.link.End`."""
        if not self.closed:
            self.closed = True
            if not self._shut and not self._end.dead:
                self._shut = True
                self._say_goodbye()
            self._end.close()

    def abort(self) -> None:
        """See :class:`.link.End`."""
        self.closed = True
        self._end.abort()

    def set_reading(self, flag: bool) -> None:
        """See :class:`.link.End`."""
        self._end.set_reading(flag)

    def _say_goodbye(self) -> None:
        if self._mood.truncates:
            self._world.faults.count(f"tls {self._side} ends without close_notify")
            return
        try:
            self._session.unwrap()
        except ssl.SSLWantReadError:
            pass  # the other side may say it later
        self._put(self._outgoing.read())

    def _put(self, raw: bytes) -> None:
        if raw and not self._end.dead:
            self._end.write(raw)

    # ── the link ─────────────────────────────────────────────────────────────────────

    def received(self, data: bytes) -> None:
        """Records, or pieces of them."""
        if self.closed or self._peer_ended or self._spoilt:
            return
        self._incoming.write(data)
        if not self.established:
            if not self._begun and self._spoils():
                return
            self._handshake()
        if self.established:
            self._take()

    def ended(self) -> None:
        """The other side has shut its write side; without a word before that, it is no end of what it said."""
        if not self.established:
            self._end.close()
            self._fail("closed amid the handshake")
        elif not self._peer_ended:
            self._lose("the transport ended without close_notify")

    def lost(self, error: Error) -> None:
        """The link was reset."""
        if not self.established:
            self._fail("reset amid the handshake")
        elif not self.closed:
            self.closed = self.dead = True
            self.owner.lost(error)

    def progressed(self) -> None:
        """The other side took bytes that were waiting."""
        if self.established:
            self.owner.progressed()

    # ── the session ──────────────────────────────────────────────────────────────────

    def _handshake(self) -> None:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            self._put(self._outgoing.read())
            return
        except ssl.SSLError as error:
            self._put(self._outgoing.read())
            self._end.close()
            self._fail(str(error))
            return
        self._put(self._outgoing.read())
        self.established = True
        self._ready(self)

    def _take(self) -> None:
        while not self.closed:
            try:
                data = self._session.read(65_536)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                self._peer_ended = True
                self.owner.ended()
                return
            except ssl.SSLError as error:
                self._lose(str(error))
                return
            self.owner.received(data)

    def _lose(self, why: str) -> None:
        self.closed = self.dead = True
        self._end.close()
        self.owner.lost(Error(ErrorType.READ_ERROR, why))

    def _fail(self, why: str) -> None:
        if not self.closed:
            self.closed = True
            self._failed(Error(ErrorType.TLS_HANDSHAKE_FAILURE, why))

    # ── trouble ──────────────────────────────────────────────────────────────────────

    def _spoils(self) -> bool:
        """Do what spoils the handshake from its first byte on; False: it goes on, perhaps with a wrong certificate."""
        self._begun = True
        fails, end = self._mood.fails, self._end
        if fails == "stalls":
            self._put(self._first_bytes())
        elif fails == "sends garbage":
            self._put(self._rng.data(1 + self._rng.below(300)))
        elif fails == "speaks plain text":
            self._put(_PLAIN[self._side])
        elif fails == "leaves amid the handshake":
            self._put(self._first_bytes())
            if self._rng.chance(0.5):
                end.abort()
                self._fail("left")
            else:
                end.shut()
        else:
            return False
        self._spoilt = True
        self._world.faults.count(f"tls {self._side} {fails}")
        self._world.after(1_000.0, self._lose_patience)
        return True

    def _first_bytes(self) -> bytes:
        """Some of what would have been said, perhaps nothing."""
        try:
            self._session.do_handshake()
        except ssl.SSLError:
            pass  # it waits for more
        raw = self._outgoing.read()
        return raw[: self._rng.below(len(raw))] if raw else b""

    def _lose_patience(self, _: None) -> None:
        if not self._end.closed and not self._end.dead:
            self._world.broken("I-9", f"{self.name}: a handshake that stalls is kept for ever")


class _Script(Protocol):
    """A scripted client."""

    world: World
    name: str

    def connected(self, end: Any) -> None: ...

    def refused(self, error: Error) -> None: ...


class ClientOverTls:
    """A scripted client whose link is over TLS. Give it to ``world.client`` in its place."""

    def __init__(self, tls: SimulatedTls, script: _Script, alpn: tuple[str, ...]) -> None:
        self.world = script.world
        self.name = script.name
        self._tls, self._script, self._alpn = tls, script, alpn

    def connected(self, end: End) -> None:
        """The link is there."""
        tls, script = self._tls, self._script
        rng = tls.rng.fork(end.name)
        context = tls.library.client_context(ClientSettings(alpn=self._alpn, ca=authority()))

        def session(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> TlsSession:
            made: TlsSession = context.wrap_bio(incoming, outgoing, server_hostname=_PROXY)
            return made

        mood = TlsMood(rng, "client", tls.chance)
        TlsEnd(tls.world, end, "client", session, mood, rng, script.connected, script.refused)

    def refused(self, error: Error) -> None:
        """There will be no link."""
        self._script.refused(error)


class OriginOverTls:
    """A listener of scripted origins over TLS: *listener* for who agrees on *alpn*, *otherwise* for who does not."""

    def __init__(self, tls: SimulatedTls, listener: Listener, alpn: str, otherwise: Listener | None = None) -> None:
        self._tls, self._listener, self._alpn = tls, listener, alpn
        self._otherwise = otherwise or listener

    def accept(self, end: End) -> None:
        """A link came in."""
        tls = self._tls
        rng = tls.rng.fork(end.name)
        mood = TlsMood(rng, "origin", tls.chance)
        shown = issue("elsewhere.test") if mood.fails == "shows a wrong name" else issue(_ORIGIN)
        if mood.fails == "shows an unknown authority":
            shown = issue(_ORIGIN, "nobody")
        alpn = () if mood.fails == "agrees on nothing" else (self._alpn,)
        if mood.fails in ("shows a wrong name", "shows an unknown authority", "agrees on nothing"):
            tls.world.faults.count(f"tls origin {mood.fails}")
        context = tls.library.server_context(ServerSettings(cert_key=shown, alpn=alpn, tickets=rng.below(3)))

        def session(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> TlsSession:
            made: TlsSession = context.wrap_bio(incoming, outgoing, server_side=True)
            return made

        TlsEnd(tls.world, end, "origin", session, mood, rng, self._ready, lambda _: None)

    def _ready(self, end: Any) -> None:
        (self._listener if end.alpn == self._alpn else self._otherwise).accept(end)


class SimulatedTls:
    """TLS in a world: before its proxy, behind it, or both. *calm*: nothing goes wrong with it."""

    def __init__(self, world: World, rng: Random, *, calm: bool) -> None:
        self.world = world
        self.rng = rng
        self.library = TlsLibrary()
        self.front = rng.chance(0.6)
        """Clients speak it to the proxy."""
        self.back = not self.front or rng.chance(0.6)
        """The proxy speaks it to origins."""
        self.chance = 0.0 if calm else rng.pick((0.0, 0.4, 0.7))
        """That something goes wrong with a link."""
        offered = rng.pick((ALPN.H2, ALPN.H2H1))
        self._http2 = PeerOptions(alpn=offered, max_h2_streams=rng.pick((1, 3, 100)), ca=authority())
        self._http1 = PeerOptions(alpn=rng.pick((ALPN.H1, ALPN.H2H1)), ca=authority())

    def layers(self, *, origin: bool = False) -> tuple[ServerTls, ...]:
        """What stands below the connections of a proxy, or of an origin, that are applications of ours."""
        if not (self.back if origin else self.front):
            return ()
        settings = ServerSettings(cert_key=issue(_ORIGIN if origin else _PROXY), tickets=self.rng.below(3))
        return (ServerTls(Certificates(self.library, settings)),)

    def client(self, script: Any, *, http2: bool = False) -> Any:
        """*script* as a client of the proxy."""
        if not self.front:
            return script
        alpn: tuple[str, ...] = ("h2",)
        if not http2:
            alpn = self.rng.pick(((), ("http/1.1",), ("spdy/3", "http/1.1"), ("spdy/3",)))
            if alpn == ("spdy/3",):
                self.world.faults.count("tls client ALPN disagreement")
        return ClientOverTls(self, script, alpn)

    def origin(self, listener: Any, alpn: str = "http/1.1", otherwise: Any = None) -> Any:
        """*listener* as an origin of the proxy."""
        return OriginOverTls(self, listener, alpn, otherwise) if self.back else listener

    def peer(self, address: str, *, http2: bool) -> HttpPeer:
        """Whom the proxy sends to."""
        return HttpPeer(address, True, _ORIGIN, options=self._http2 if http2 else self._http1)
