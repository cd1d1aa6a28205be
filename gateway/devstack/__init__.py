"""A real MongoDB and a real Redis for development and tests, started on demand and ended with whoever started them."""

from gateway.devstack.errors import DevstackError
from gateway.devstack.stack import Devstack, Servers

__all__ = ["Devstack", "DevstackError", "Servers"]
