"""Only who shows a certificate gets in, and is told what it says: curl --cert me.pem --key me.key https://…

python examples/client_cert.py SERVER.pem SERVER.key CLIENTS-CA.pem [asyncio|gevent|threads]
"""

import sys
from dataclasses import dataclass

from sansio_pingora import HttpServerApp, ResponseHeader, Tls, serve
from sansio_pingora.tls import Certificate


@dataclass
class Shown:
    text: str


def completed(handshake):
    """What it returns is kept with the connection."""
    shown = Certificate.parse(handshake.peer_certificate)
    asked, names = handshake.server_name, ", ".join(shown.dns_names + shown.addresses)
    return Shown(f"asked for {asked}; CN {shown.common_name}; O {shown.organization}; names {names}\n")


class WhoAmI(HttpServerApp):
    def process_new_http(self, session):
        told = session.digest().ssl_digest.extension.get(Shown).text.encode()
        session.write_response_header(ResponseHeader(200, [("Content-Length", str(len(told)))]))
        session.write_response_body(told, end=True)


if __name__ == "__main__":
    cert, key, authority, *rest = sys.argv[1:]
    address = Tls("127.0.0.1:6148", cert=cert, key=key, client_ca=authority, completed=completed)
    serve(WhoAmI(), listen=address, runtime=rest[0] if rest else "asyncio")
