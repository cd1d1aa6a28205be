"""uvicorn's WebSocket, made to hold little for clients that do not read, and not for ever."""

from __future__ import annotations

from typing import Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

_NO_HANDSHAKE: Final = (
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 30\r\n\r\na WebSocket is opened by a GET"
)
"""To what asks for a WebSocket in a way that nobody opens one, such as by POST: the protocol itself would only hang up."""


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket. Who sends messages waits while the client takes none; this is about all else that is written."""

    def data_received(self, data: bytes) -> None:
        """Take what has come. A handshake that is none, or has lines that are too long, is refused at once."""
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            # uvicorn leaves unsent what there is to say, keeps the connection for good, and cannot stop in order while it does.
            self.handshake_complete = self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()) or _NO_HANDSHAKE)
            self.transport.close()

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

    def send_receive_event_to_app(self) -> None:
        """Hand on a message that is complete. One that calls itself text and is none ends the connection."""
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_text(b"".join(self.frames)):
            self.frames = []
            # Unlike uvicorn: without a traceback, and also when the client has said farewell in the same packet.
            self.conn.fail(CloseCode.INVALID_DATA, "text must be UTF-8")
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    async def send(self, message: ASGISendEvent) -> None:
        """Send once the client takes something. Raises ``ClientDisconnected`` where the connection was given up meanwhile."""
        await self.writable.wait()
        if self.close_sent or self.transport.is_closing():
            # The client has broken the protocol, of which the application knows nothing: uvicorn would call that a defect.
            raise ClientDisconnected
        await super().send(message)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
