"""Presences: that a provider's machine is up, and which GPUs it serves."""

from sqlmodel import Session

from aitbc.protocol.messages import Presence
from aitbc.protocol.metering import CLOCK_TOLERANCE_SECONDS
from aitbc.protocol.wire import PresenceAnswer, SignedPresence
from aitbc_coordinator.context import Context
from aitbc_coordinator.errors import Missing, Unauthorised
from aitbc_coordinator.market import repository as market
from aitbc_coordinator.market import standing
from aitbc_coordinator.settlement import repository


def accept(context: Context, session: Session, signed: SignedPresence) -> PresenceAnswer:
    """Keep the GPUs of a presence on the market, counted from when it was signed.

    So the same again, or an older one, changes nothing. Raises Unauthorised and Missing.
    """
    presence = signed.presence
    session_key = _check_signer(context, session, signed)
    _check_time(context, presence)
    uuids = {sighting.gpu_id: sighting.gpu_uuid for sighting in presence.gpus}
    strange = uuids.keys() - market.ids_of_provider(session, presence.provider, uuids)
    if strange:
        raise Missing(
            "unknown-gpu",
            f"{presence.provider} never listed {', '.join(sorted(strange)[:5])} on this market",
            hint="see your own: aitbc marketplace gpu list --mine",
        )
    allowed = context.settings.unreachable_seconds
    if standing.is_news(session, uuids, presence.signed_at):
        context.wallets.spend(session_key)
        standing.heard(session, uuids, presence.signed_at, allowed=allowed)
    return PresenceAnswer(reachable_until=presence.signed_at + allowed)


def _check_signer(context: Context, session: Session, signed: SignedPresence) -> str:
    presence = signed.presence
    signer = presence.signer(context.market.domain, signed.signature)
    grant = None if signer is None else repository.find_grant(session, presence.provider, signer)
    if signer is None or grant is None or grant.expires_at <= context.now():
        raise Unauthorised(
            "wrong-signer",
            f"the presence is not signed by a session key of {presence.provider}",
            hint="grant a session key first: aitbc provider session create",
        )
    return signer


def _check_time(context: Context, presence: Presence) -> None:
    age, allowed = context.now() - presence.signed_at, context.settings.unreachable_seconds
    if not -CLOCK_TOLERANCE_SECONDS <= age < allowed:
        when = f"{age} s ago" if age > 0 else f"{-age} s ahead of the coordinator's clock"
        raise Unauthorised(
            "stale-signature",
            f"the presence was signed {when}: at most {allowed} s ago is allowed, and "
            f"{CLOCK_TOLERANCE_SECONDS} s ahead",
            hint="check the machine's clock",
        )
