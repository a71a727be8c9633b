"""What may be typed behind ``sansio-pingora``."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

from sansio_pingora.cli.kit import add_kit_commands
from sansio_pingora.server import add_options

if TYPE_CHECKING:
    from sansio_pingora.listeners import ServerAddress
    from sansio_pingora.upstreams import HttpPeer

__all__ = ["make_parser"]


def make_parser() -> ArgumentParser:
    """The parser; ``command`` names what is to be run."""
    parser = ArgumentParser(
        prog="sansio-pingora",
        description="An HTTP proxy and origin whose protocol is pure state machines, on asyncio, gevent or threads.",
        epilog="Exit codes: 0, 1 runtime failure, 2 usage, 78 configuration.",
        formatter_class=RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="a proxy before a built-in origin, real requests, and what came of them")
    demo.add_argument("--runtime", type=_runtime, metavar="R", help="only this one; otherwise all in turn")

    proxy = commands.add_parser("proxy", help="pass requests on to one origin or several, in turn")
    _add_serving(proxy)
    proxy.add_argument(
        "--to",
        type=_peer,
        action="append",
        required=True,
        metavar="[http|https|h2c|h2]://HOST:PORT",
        help="an origin; given again, requests go round, and on to the next where one cannot be reached",
    )

    origin = commands.add_parser("origin", help="the built-in origin: / /echo /bytes/N /status/N /headers /delay/S …")
    _add_serving(origin)

    served = commands.add_parser("serve", help="run the services of a configuration")
    add_options(served, required=True)
    served.add_argument("--runtime", type=_runtime, metavar="R", help="instead of the one in the configuration")
    _add_record(served)
    served.add_argument(
        "--workers", type=_workers, metavar="N", help="so many processes, whatever the configuration says"
    )

    add_kit_commands(commands)
    commands.add_parser("schema", help="the configuration as JSON Schema, for editors")
    commands.add_parser("version", help="this version, Python's, and the runtimes that are installed")
    return parser


def _add_serving(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        type=_address,
        action="append",
        required=True,
        metavar="HOST:PORT",
        help="where to listen: 127.0.0.1:8080, [::1]:8080 or unix:/run/x.sock; may be given again",
    )
    parser.add_argument("--cert", metavar="F", help="serve over TLS with this certificate, a PEM file")
    parser.add_argument("--key", metavar="F", help="the private key of the certificate, a PEM file")
    parser.add_argument("--runtime", type=_runtime, default="asyncio", metavar="R", help="asyncio, gevent or threads")
    _add_record(parser)
    parser.add_argument("--h2c", action="store_true", help="clients may speak HTTP/2 without TLS, with prior knowledge")
    parser.add_argument(
        "-o",
        type=_option,
        action="append",
        default=[],
        dest="options",
        metavar="KEY=VALUE",
        help="a limit or option, as in serve(): -o head_timeout=5",
    )


def _add_record(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--record", metavar="DIR", help="keep transcripts of connections in DIR, with all that passes, for `replay`"
    )


# What is typed is read with what is loaded for that command alone.


def _address(text: str) -> ServerAddress:
    from sansio_pingora.listeners import ServerAddress

    try:
        return ServerAddress.parse(text)
    except ValueError as exc:
        raise ArgumentTypeError(str(exc)) from None


def _peer(text: str) -> HttpPeer:
    from sansio_pingora.cli.forwarding import VERSIONS
    from sansio_pingora.upstreams import HttpPeer

    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    if scheme not in ("http", "https", "h2c", "h2"):
        raise ArgumentTypeError(f"{text}: write [http://]HOST:PORT, or https://, h2c:// or h2:// before it")
    address = rest.rstrip("/")
    if separator and "/" not in address and (":" not in address or address.endswith("]")):
        address += ":80" if scheme in ("http", "h2c") else ":443"
    try:
        return HttpPeer(address, scheme in ("https", "h2"), options=VERSIONS[scheme])
    except ValueError as exc:
        raise ArgumentTypeError(str(exc)) from None


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ArgumentTypeError(f"{text!r}: write KEY=VALUE")
    return key.strip().replace("-", "_"), value.strip()


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise ArgumentTypeError(f"{text!r}: a whole number of 1 to 1024")
    return int(text)


def _runtime(text: str) -> str:
    from sansio_pingora._runtimes import runtime_names

    names = runtime_names()
    if text not in names:
        raise ArgumentTypeError(f"unknown runtime {text!r}: {', '.join(names)}")
    return text
