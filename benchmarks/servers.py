"""The servers that every benchmark shares: started once, in a folder of their own, gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.devstack import Devstack, Servers


@asynccontextmanager
async def benchmark_servers() -> AsyncIterator[Servers]:
    with tempfile.TemporaryDirectory(prefix="jobgate-bench-") as folder:
        async with Devstack(Path(folder)) as servers:
            yield servers
