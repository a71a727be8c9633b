"""HTTP/1 and HTTP/2 in an asyncio program of one's own: the engine's limits and time-outs, streams of ours."""

import asyncio
from contextlib import suppress

from sansio_pingora import Limits, ResponseHeader
from sansio_pingora.session import ServerConnection
from sansio_pingora.wire import Failed, Header, HttpTask

DONE = Header(ResponseHeader(204), end=True)


async def serve_client(reader, writer, limits: Limits | None = None) -> None:
    now = asyncio.get_running_loop().time
    conn = ServerConnection(now=now(), limits=limits)
    with suppress(OSError):  # the client is gone, or takes nothing
        while not conn.closing:
            try:
                async with asyncio.timeout(conn.timeout(now())):
                    events = conn.receive_data(await reader.read(65_536), now())  # b"" is the end
            except TimeoutError:
                events = conn.handle_timeout(now())
            for stream_id, value in events:
                conn.consumed(stream_id, len(getattr(value, "data", b"")))
                if isinstance(value, HttpTask) and value.end and not isinstance(value, Failed):
                    conn.send(stream_id, DONE, now())
            writer.writelines(conn.data_to_send())
            async with asyncio.timeout(30):
                await writer.drain()
    writer.close()


async def main():
    async with await asyncio.start_server(serve_client, "127.0.0.1", 8080) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
