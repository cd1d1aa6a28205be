"""An issuer of tokens: keys of its own, the set that tells of them, and tokens that may be wrong in any way."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER: Final = "https://issuer.example"
AUDIENCE: Final = "jobgate"
RSA_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY: Final = ec.generate_private_key(ec.SECP256R1())
ED_KEY: Final = ed25519.Ed25519PrivateKey.generate()
STRANGE_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
"""Of somebody else."""

PUBLIC_PEM: Final = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

KINDS: Final[dict[str, tuple[str, Any]]] = {"RS256": ("rsa", RSA_KEY), "ES256": ("ec", EC_KEY), "EdDSA": ("ed", ED_KEY)}
"""The algorithms that are accepted of themselves, each with the id of a key and the key."""


def key_set(*more: dict[str, Any], without: str | None = None) -> str:
    """The set of the issuer's public keys, ``more`` among them."""
    makers = {
        "rsa": jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True),
        "ec": jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True),
        "ed": jwt.algorithms.OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True),
    }
    keys = [{**jwk, "kid": kid} for kid, jwk in makers.items() if kid != without]
    return json.dumps({"keys": [*keys, *more]})


def written(folder: Path) -> str:
    """The path of a file with the key set."""
    path = folder / "jwks.json"
    path.write_text(key_set())
    return str(path)


def claims(expires_in: float = 600, **changes: Any) -> dict[str, Any]:
    """Those of a token that is in order, but for ``changes``; what is changed to ``...`` is left out."""
    whole = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ann",
        "exp": time.time() + expires_in,
        "scope": "jobs:read jobs:dispatch",
        "products": ["shop"],
        "envs": "*",
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def token(
    given: dict[str, Any] | None = None,
    *,
    key: Any = RSA_KEY,
    algorithm: str = "RS256",
    kid: object = "rsa",
    **header: Any,
) -> str:
    """A token, signed."""
    headers = {**({} if kid is None else {"kid": kid}), **header}
    return jwt.encode(claims() if given is None else given, key, algorithm, headers=headers)


def unsigned(header: object, payload: object, signature: bytes = b"x") -> str:
    """Something in the form of a token, of parts that no library would put together; ``bytes`` are taken as they are."""
    parts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (header, payload)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature))
