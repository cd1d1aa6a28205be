"""Where a gateway is found."""

from typing import Final

GRAPHQL_PATH: Final = "/graphql"


def graphql_url(host: str, port: int) -> str:
    """Where GraphQL is served."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}{GRAPHQL_PATH}"
