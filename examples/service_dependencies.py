"""What needs what: the API starts when the database and the cache say that they are ready.

python examples/service_dependencies.py [asyncio|gevent|threads]
"""

import sys

from sansio_pingora import Response
from sansio_pingora.server import Server, ServerConf
from sansio_pingora.services import BackgroundService, Service


class Database(BackgroundService):
    def start_with_ready_notifier(self, shutdown, ready):
        shutdown.wait(0.2)  # connects
        ready.notify_ready()
        shutdown.wait()


class Cache(BackgroundService):
    def start(self, shutdown):  # ready when it begins
        shutdown.wait()


def make_server(runtime, listen="127.0.0.1:8080"):
    api = Service("api", lambda request: Response(200, body=b"all there\n"))
    api.add_tcp(listen)
    api.on_startup_delay = lambda seconds: print(f"the api has waited {seconds:.1f} s")
    server = Server(conf=ServerConf(runtime=runtime))
    handle = server.add_service(api)
    for service in (Database("database"), Cache("cache")):
        handle.add_dependency(server.add_service(service))
    return server


if __name__ == "__main__":
    sys.exit(make_server(sys.argv[1] if sys.argv[1:] else "asyncio").run_forever())
