"""An application that streams on every runtime: reads an upload piece by piece, and reports its progress.

curl -T some.file http://127.0.0.1:8080/
"""

import sys
from hashlib import sha256

from sansio_pingora import HttpServerApp, ResponseHeader, serve
from sansio_pingora.session import Call, Drain, ReadBody, Sleep


class Checksum(HttpServerApp):
    def process_new_http(self, session):
        session.write_response_header(ResponseHeader(200, [("Content-Type", "text/plain")]))
        checksum, size = sha256(), 0
        while (data := (yield ReadBody())) is not None:
            size += len(data)
            yield Call(lambda: checksum.update(data))  # off the lane, and waited for
            if session.write_response_body(b"%d bytes so far\n" % size) <= 0:
                yield Drain()
        yield Sleep(0.01)
        session.write_response_body(checksum.hexdigest().encode() + b"\n", end=True)


if __name__ == "__main__":
    serve(Checksum(), listen="127.0.0.1:8080", runtime=sys.argv[1] if sys.argv[1:] else "threads")
