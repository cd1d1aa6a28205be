"""What headers may be sent, and whose they are to say."""

from __future__ import annotations

import re
from typing import Final

HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
HEADER_VALUE: Final = re.compile(r"(?! )[\t\x20-\x7e\xa0-\xff]{0,8000}(?<! )")

PROVING: Final = ("authorization", "cookie", "proxy-authorization")
"""Headers that prove who calls: they come from settings, never from the input of a job, which is stored and shown."""

# What frames the message or leads it elsewhere is not the caller's to say; a compressed body would evade the size limit.
_FRAMING: Final = {"accept-encoding", "content-length", "expect", "host", "transfer-encoding"}
_HOP_BY_HOP: Final = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"}
SET_BY_WORKER: Final = frozenset(_FRAMING | _HOP_BY_HOP)
