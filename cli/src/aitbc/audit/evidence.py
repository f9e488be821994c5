"""Recomputing what a booking earned from the evidence behind its settlement. Pure."""

from aitbc.protocol import events as ev
from aitbc.protocol.ledger import BookingLine
from aitbc.protocol.messages import Domain
from aitbc.protocol.metering import Evidence, meter


def evidence_problems(
    evidence: Evidence, line: BookingLine, domain: Domain, allowance: int | None
) -> list[str]:
    """Where the evidence fails to bear out the booking's events; empty where it does.

    Every heartbeat must be signed by a session key that the booking's provider granted, and cover
    no more than the market's `allowance` (seconds; None where no market is known); the used
    seconds and the earned money must follow from them; the digest must be the event's.
    """
    if evidence.booking_id != line.booking_id or evidence.terms != line.terms:
        return ["the evidence is of another booking, or of other terms"]
    found = _signature_problems(evidence, line, domain)
    if allowance is not None:
        found += _length_problems(evidence, allowance)
    recomputed = meter(
        line.booking_id, line.terms, evidence.grants, evidence.heartbeats, line.disputed_at
    )
    for name in ("metered_until", "used_seconds", "earned"):
        stated, proven = getattr(evidence, name), getattr(recomputed, name)
        if stated != proven:
            found.append(f"the evidence states {name} {stated}, it is {proven}")
    claimed = 0
    for event in line.events:
        match event:
            case ev.Claimed():
                claimed += event.paid + event.fee
            case ev.Settled():
                found += _settlement_problems(event, evidence, line.terms.amount, claimed)
            case ev.SettledInFull() if evidence.earned != line.terms.amount:
                found.append(f"it was settled in full, the evidence proves {evidence.earned}")
    if claimed > evidence.earned:
        # The buyer may sign such a receipt. The attester signs none, but before it sees a dispute.
        found.append(f"claims took {claimed - evidence.earned} more than the evidence proves")
    return found


def _signature_problems(evidence: Evidence, line: BookingLine, domain: Domain) -> list[str]:
    expiries: dict[str, int] = {}
    for signed in evidence.grants:
        grant = signed.grant
        provider = line.terms.provider
        if grant.provider != provider or grant.signer(domain, signed.signature) != provider:
            return [f"the session key {grant.session_key} was not granted by the provider"]
        expiries[grant.session_key] = max(grant.expires_at, expiries.get(grant.session_key, 0))
    for beat in evidence.heartbeats:
        heartbeat = beat.heartbeat
        if heartbeat.booking_id != line.booking_id:
            return [f"heartbeat {heartbeat.sequence} is of another booking"]
        signer = heartbeat.signer(domain, beat.signature)
        if signer not in expiries:
            return [f"heartbeat {heartbeat.sequence} is not signed by a granted session key"]
        if heartbeat.covers_until > expiries[signer]:
            return [f"heartbeat {heartbeat.sequence} is later than its session key's grant"]
    return []


def _length_problems(evidence: Evidence, allowance: int) -> list[str]:
    """A single signature must not stand for more time than the coordinator would take."""
    for beat in evidence.heartbeats:
        covered = beat.heartbeat.covers_until - beat.heartbeat.covers_from
        if covered > allowance:
            return [
                f"heartbeat {beat.heartbeat.sequence} covers {covered} seconds,"
                f" the market takes at most {allowance}"
            ]
    return []


def _settlement_problems(
    event: ev.Settled, evidence: Evidence, amount: int, claimed: int
) -> list[str]:
    """`claimed` is what claims took before; a settlement takes none of it back."""
    found: list[str] = []
    if event.evidence != evidence.digest():
        found.append(f"the settlement carries evidence {event.evidence}, not {evidence.digest()}")
    final, proven = amount - event.refunded, max(evidence.earned, claimed)
    if final != proven:
        found.append(f"the settlement pays {final} in all, due is {proven} by the evidence")
    return found
