"""Verifies wxgate's assertion of who calls, with PyJWT.

    python verify.py JWKS ISSUER AUDIENCE < token

JWKS is a file or an address, best that of the gateway with /.well-known/jwks.json. Prints the claims, or says why not.
A backend keeps one `Verifier` and gives it the value of X-WX-ASSERTION of each request.
"""

import json
import sys
from pathlib import Path

import jwt

# Never what the token says. With HS256 in this list, whoever has the public key could sign.
ALGORITHMS = ["EdDSA", "ES256"]
CLOCK_TOLERANCE = 10  # seconds
REQUIRED = ["iss", "aud", "sub", "app", "iat", "exp"]


class Verifier:
    def __init__(self, jwks, issuer, audience):
        self.issuer = issuer
        self.audience = audience
        if jwks.startswith(("http://", "https://")):
            # Keeps the keys for five minutes, and fetches them when it meets one that it doesn't know, but not more than twice
            # a minute: strangers can make up as many as they like.
            self.find_key = jwt.PyJWKClient(jwks, lifespan=300, cooldown_duration=30, timeout=5).get_signing_key
        else:
            self.find_key = jwt.PyJWKSet.from_json(Path(jwks).read_text()).__getitem__

    def verify(self, token):
        """The claims. Raises where the token is not to be believed."""
        kid = jwt.get_unverified_header(token).get("kid")
        if not isinstance(kid, str):
            raise jwt.InvalidTokenError("no kid")
        try:
            key = self.find_key(kid)
        except (KeyError, jwt.PyJWKClientError) as error:
            raise jwt.InvalidTokenError(f"no key {kid}: {error}") from error
        # The key says which algorithm it is for, and the list says which there may be.
        if key.algorithm_name not in ALGORITHMS:
            raise jwt.InvalidTokenError(f"the key {kid} is for {key.algorithm_name}")
        return jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            issuer=self.issuer,
            audience=self.audience,
            leeway=CLOCK_TOLERANCE,
            options={"require": REQUIRED, "strict_aud": True},
        )


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        claims = Verifier(*sys.argv[1:]).verify(sys.stdin.read().strip())
    except (jwt.PyJWTError, ValueError) as error:
        sys.exit(f"refused: {error}")
    print(json.dumps(claims))


if __name__ == "__main__":
    main()
