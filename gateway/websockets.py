"""uvicorn's WebSocket, made to hold little for clients that do not read, and not for ever."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket. Who sends messages waits while the client takes none; this is about all else that is written."""

    def keepalive_timeout(self) -> None:
        """Let go of a client that has not answered a ping."""
        super().keepalive_timeout()
        # Closing alone would wait until the client has taken all that was written to it, which it may never do.
        self.transport.abort()

    def handle_ping(self) -> None:
        """Answer a ping, unless earlier answers wait already: a client that only asks could have them pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()
