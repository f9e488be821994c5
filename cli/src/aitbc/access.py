"""Signing in at a coordinator, to read what is private to a wallet."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from aitbc.client import Coordinator
from aitbc.errors import CoordinatorError, InvalidInput
from aitbc.protocol.sign_in import Audience, SignIn
from aitbc.protocol.wire import SignInRequest
from aitbc.signing import sign_text

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

LONGEST_SECONDS = 900
"""What is signed is good for no longer, whatever the coordinator allows."""


@contextmanager
def signed_in(coordinator: Coordinator, account: "LocalAccount", chain_id: int) -> Iterator[str]:
    """A token that speaks for a wallet, in memory alone, given back at the end.

    What is signed names the URL that the coordinator was reached at, and the chain: of what it
    says itself there is only the nonce in it, so that the signature is good nowhere else. Raises
    CoordinatorError, and InvalidInput for a URL that cannot be in such a message.
    """
    try:
        audience = Audience.of(coordinator.url)
    except ValueError as error:
        raise InvalidInput(f"cannot sign in at this coordinator's URL: {error}") from error
    given = coordinator.sign_in_nonce()
    now = int(time.time())
    message = SignIn(
        audience=audience,
        address=str(account.address),
        chain_id=chain_id,
        nonce=given.nonce,
        issued_at=now,
        expires_at=now + min(LONGEST_SECONDS, given.session_seconds),
    ).text()
    signature = sign_text(account, message)
    token = coordinator.sign_in(SignInRequest(message=message, signature=signature)).token
    try:
        yield token
    finally:
        # It expires by itself, too.
        with suppress(CoordinatorError):
            coordinator.sign_out(token)
