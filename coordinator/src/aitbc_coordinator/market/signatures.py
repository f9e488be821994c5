"""Who signed a request, and when."""

from aitbc.protocol.messages import Message
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import Unauthorised


def require_signer(context: Context, message: Message, signature: str, expected: str) -> None:
    """Raises Unauthorised unless `expected` signed the message for this market's escrow."""
    domain = context.market.domain
    if message.signer(domain, signature) != expected:
        raise Unauthorised(
            "wrong-signer",
            f"the signature is not {expected}'s for escrow {domain.escrow} on chain "
            f"{domain.chain_id}",
            hint="sign with that wallet, for this market",
        )


def require_fresh(context: Context, signed_at: int) -> None:
    """Raises Unauthorised for a time of signing too far from this machine's clock."""
    age, allowed = context.now() - signed_at, context.settings.signature_seconds
    if abs(age) > allowed:
        where = f"{age} s ago" if age > 0 else f"{-age} s ahead of the coordinator's clock"
        raise Unauthorised(
            "stale-signature",
            f"the request was signed {where}: at most {allowed} s are allowed",
            hint="check this machine's clock, then sign again",
        )
