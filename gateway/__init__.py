"""The composition root: settings, ASGI application, command line and embedded servers."""
