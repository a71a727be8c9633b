"""A chat room over WebSocket, whatever version of HTTP its guests come by: what one says, all the others hear."""

import sys

from sansio_pingora import Error, WebSocketApp, serve


class Room(WebSocketApp):
    subprotocols = ("chat",)

    def __init__(self):
        self.guests = {}

    def handshake(self, session):
        if session.get_header("x-name") is None:
            raise Error.http_status(403, "who are you? say so in X-Name")

    def on_open(self, ws):
        ws.data = ws.request.get("x-name").decode("latin-1")
        self.say(f"{ws.data} is here")
        self.guests[ws] = None

    def on_message(self, ws, message):
        self.say(f"{ws.data}: {message}", but=ws)

    def on_close(self, ws, code, reason):
        if self.guests.pop(ws, self) is None:
            self.say(f"{ws.data} has left")

    def say(self, text, but=None):
        for guest in list(self.guests):
            if guest is not but:
                guest.post(text)  # it may be served by another thread


if __name__ == "__main__":
    serve(Room(), listen="127.0.0.1:8080", runtime=(sys.argv[1:] or ["asyncio"])[0], h2c=True)
