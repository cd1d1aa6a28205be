"""What becomes of errors in the tasks that serve a WebSocket."""

from datetime import timedelta
from typing import Any, cast

import pytest
from strawberry.http.exceptions import WebSocketDisconnected

from gateway.graphql_ws import TransportHandler


@pytest.mark.parametrize(("error", "logged"), [(WebSocketDisconnected(), 0), (ValueError("a defect"), 1)])
async def test_a_client_that_is_gone_is_nothing_to_log(
    caplog: pytest.LogCaptureFixture, error: Exception, logged: int
) -> None:
    nothing = cast("Any", None)
    handler = TransportHandler(nothing, nothing, nothing, None, nothing, timedelta(0))
    await handler.handle_task_exception(error)
    assert len(caplog.records) == logged
