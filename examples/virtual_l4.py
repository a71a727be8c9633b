"""An origin without a socket: the proxy connects to an object of this process, an HTTP engine on two methods."""

import sys
from queue import SimpleQueue
from time import monotonic

from sansio_pingora import HttpPeer, PeerOptions, ProxyHttp, ResponseHeader, serve
from sansio_pingora.session import ServerConnection
from sansio_pingora.wire import Header


class Virtual:
    @classmethod
    def connect(cls, address):
        made = cls()
        made.engine, made.answers = ServerConnection(now=monotonic()), SimpleQueue()
        return made

    def write(self, data):
        for stream_id, task in self.engine.receive_data(data, monotonic()):
            if isinstance(task, Header):
                self.engine.send(stream_id, Header(ResponseHeader(204), end=True), monotonic())
        self.answers.put(b"".join(self.engine.data_to_send()))
        return len(data)

    def read(self, size):
        return self.answers.get()  # b"" is the end


class Local(ProxyHttp):
    peer = HttpPeer("virtual.internal:80", options=PeerOptions(custom_l4=Virtual))

    def upstream_peer(self, session, ctx):
        return self.peer


if __name__ == "__main__":
    serve(Local(), listen="127.0.0.1:6196", runtime=sys.argv[1] if sys.argv[1:] else "asyncio")
