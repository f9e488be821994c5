"""The market that an operator asks for. All of it is immutable in its escrow."""

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aitbc.chain.escrow import Parameters
from aitbc.errors import UntrustedMarket
from aitbc.protocol.artifacts import EscrowName
from aitbc.protocol.states import MAXIMUM_CLAIM_WINDOW, MAXIMUM_FEE_BPS
from aitbc.protocol.types import ZERO_ADDRESS, Address


class Wish(BaseModel):
    """The market to make. Its fields are named as those of `Parameters`."""

    model_config = ConfigDict(frozen=True)

    token: Address | None
    """The ERC-20 token that the escrow holds; None for the chain's own coin."""
    arbiter: Address = ZERO_ADDRESS
    """Nobody: there are no disputes."""
    fee_bps: int = Field(100, ge=0, le=MAXIMUM_FEE_BPS)
    fee_recipient: Address
    claim_window: int = Field(86_400, ge=1, le=MAXIMUM_CLAIM_WINDOW)
    """Seconds after the end of a booking in which it can be settled."""

    @model_validator(mode="after")
    def _somebody_earns_the_fees(self) -> "Wish":
        if self.fee_recipient == ZERO_ADDRESS:
            raise ValueError("--fee-recipient must not be the zero address")
        return self

    @property
    def contract(self) -> EscrowName:
        return "NativeEscrow" if self.token is None else "TokenEscrow"

    @property
    def options(self) -> str:
        """How it is asked for."""
        money = "--native" if self.token is None else f"--token {self.token}"
        return (
            f"{money} --fee-bps {self.fee_bps} --fee-recipient {self.fee_recipient} "
            f"--arbiter {self.arbiter} --claim-window {self.claim_window}"
        )

    def check(self, attester: str, actual: Parameters) -> None:
        """Raises UntrustedMarket unless an escrow enforces what is asked for."""
        for name, asked in {**self.model_dump(), "attester": attester}.items():
            enforced = getattr(actual, name)
            if enforced != asked:
                raise UntrustedMarket(
                    f"the escrow's {name} is {enforced}, asked for was {asked}",
                    hint="do not serve it: set AITBC_COORDINATOR_HOME to another folder, and "
                    "begin anew",
                )
