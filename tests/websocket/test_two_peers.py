"""A client and a server that talk to each other at random, against a simple model of what each must hear."""

from sansio_pingora.testing.stateful import WebSocketMachine

TestConversation = WebSocketMachine.TestCase
