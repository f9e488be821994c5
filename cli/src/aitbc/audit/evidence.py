"""Recomputing what a booking earned from the evidence behind its settlement. Pure."""

from aitbc.protocol import events as ev
from aitbc.protocol.ledger import BookingLine
from aitbc.protocol.messages import Domain
from aitbc.protocol.metering import Evidence, meter


def evidence_problems(evidence: Evidence, line: BookingLine, domain: Domain) -> list[str]:
    """Where the evidence fails to bear out the booking's events; empty where it does.

    Every heartbeat must be signed by a session key that the booking's provider granted; the
    used seconds and the earned money must follow from them; the digest must be the event's.
    """
    if evidence.booking_id != line.booking_id or evidence.terms != line.terms:
        return ["the evidence is of another booking, or of other terms"]
    found = _signature_problems(evidence, line, domain)
    recomputed = meter(line.booking_id, line.terms, evidence.grants, evidence.heartbeats)
    for name in ("used_seconds", "earned"):
        stated, proven = getattr(evidence, name), getattr(recomputed, name)
        if stated != proven:
            found.append(f"the evidence states {name} {stated}, its heartbeats prove {proven}")
    for event in line.events:
        found += _event_problems(event, evidence, line)
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


def _event_problems(event: ev.BookingEvent, evidence: Evidence, line: BookingLine) -> list[str]:
    match event:
        case ev.Settled() if event.evidence != evidence.digest():
            return [f"the settlement carries evidence {event.evidence}, not {evidence.digest()}"]
        case ev.Settled() if event.paid + event.fee > 0:
            # Where nothing was paid, claims had taken as much or more before.
            final = line.terms.amount - event.refunded
            if final != evidence.earned:
                return [
                    f"the settlement pays {final} in all, the evidence proves {evidence.earned}"
                ]
        case ev.SettledInFull() if evidence.earned != line.terms.amount:
            return [f"it was settled in full, the evidence proves {evidence.earned}"]
    return []
