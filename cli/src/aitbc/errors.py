"""Errors that people read: one line that says what is wrong, and a hint that says what to do."""

from typing import Any


class AitbcError(Exception):
    """An expected failure. `hint` is the next step, `code` a stable name for programs.

    `excerpt` shows people what it is about, in lines of their own; `details` tells programs.
    """

    code = "failed"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.excerpt: str | None = None
        self.details: dict[str, Any] = {}


class InvalidInput(AitbcError):
    """What the user gave cannot be used; nothing was changed."""

    code = "invalid-input"


class WalletError(AitbcError):
    """No wallet, a wrong passphrase, or a wallet that may not do this."""

    code = "wallet"


class ChainError(AitbcError):
    """The node or the chain refused, or is not the one expected."""

    code = "chain"


class UntrustedMarket(ChainError):
    """What a coordinator or a node says disagrees with what can be checked."""

    code = "untrusted"


class CoordinatorError(AitbcError):
    """The coordinator cannot be reached, or refused; `status` is its HTTP status, if any."""

    code = "coordinator"

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        status: int | None = None,
        problem: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.problem = problem
