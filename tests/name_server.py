"""A name server of a few records over UDP, for the tests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

__all__ = ["NameServer", "name_server"]


class NameServer:
    """Answers from *records*: ``(name, type)`` to what the type says, as in a zone file. Unknown names are NXDOMAIN."""

    def __init__(self, records: dict[tuple[str, str], list[str]]) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []
        self.silent = False
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(0.05)  # to notice the end
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.over = False

    def serve(self) -> None:
        """Until it is over."""
        while not self.over:
            with contextlib.suppress(TimeoutError):
                data, client = self.sock.recvfrom(4096)
                if not self.silent:
                    self.sock.sendto(self.answer(dns.message.from_wire(data)).to_wire(), client)

    def answer(self, query: dns.message.Message) -> dns.message.Message:
        """What it says."""
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if found := self.records.get((name, kind)):
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
        elif not any(name == known for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response


@contextlib.contextmanager
def name_server(records: dict[tuple[str, str], list[str]]) -> Iterator[NameServer]:
    """One that runs until the end of the block."""
    server = NameServer(records)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.over = True
        thread.join()
        server.sock.close()
