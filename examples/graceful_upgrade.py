"""A new process takes over and no request is lost: start it again with --upgrade, then send QUIT to the first.

python examples/graceful_upgrade.py [--upgrade] [asyncio|gevent|threads]
curl http://127.0.0.1:8080/?3    # answers after three seconds: the old process stays until then
"""

import sys
from time import sleep

from sansio_pingora import Response, ServeHttp, blocking
from sansio_pingora.server import Opt, Server, ServerConf
from sansio_pingora.services import BackgroundService, Service


class Warm(BackgroundService):
    seconds = 1.0

    def start_with_ready_notifier(self, shutdown, ready):
        shutdown.wait(self.seconds)  # fills a cache: until then the old process serves
        ready.notify_ready()


@blocking
def sleepy(request):
    sleep(min(float(request.query or 0), 60))
    return Response(200, body=b"slept well\n")


def make_server(runtime, upgrade, *, sock="graceful_upgrade.sock"):
    conf = ServerConf(runtime=runtime, upgrade_sock=sock, grace_period_seconds=60)
    server, web = Server(Opt(upgrade=upgrade), conf), Service("web", ServeHttp(sleepy))
    web.add_tcp("127.0.0.1:8080")
    server.add_service(web).add_dependency(server.add_service(Warm("warm")))
    return server


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--upgrade"]
    sys.exit(make_server(names[0] if names else "asyncio", "--upgrade" in sys.argv).run_forever())
