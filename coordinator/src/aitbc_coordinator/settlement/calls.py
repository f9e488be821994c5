"""Calls of the escrow that the relayers are to send: what gas they take, and at what price."""

from collections.abc import Iterable
from dataclasses import dataclass

from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import ContractCustomError, Web3RPCError

from aitbc.chain.escrow import Escrow
from aitbc.chain.transactions import GAS_MARGIN_PERCENT, explain_revert
from aitbc.errors import ChainError

GAS_LIMIT = 16_000_000
"""Chains refuse a transaction above 16,777,216 gas (EIP-7825)."""
GWEI = 10**9
CEILING_HINT = "raise maximum_fee_gwei, or wait for gas to become cheaper"

_TOO_MUCH_GAS = ("gas required exceeds", "out of gas", "gas limit")
"""How nodes refuse to estimate a call that does not fit into a block."""
_PUSH_LACKS_GAS = "Push_NotEnoughGas"
"""How the escrow itself refuses a call that it is not given enough gas for."""


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 fees in wei per unit of gas."""

    max_fee: int
    priority_fee: int

    def bumped(self) -> "Fees":
        """An eighth more of both, rounded up: nodes take no smaller replacement than a tenth.

        A fee of zero becomes one wei.
        """
        max_fee, priority_fee = (
            max(fee + 1, -(-fee * 9 // 8)) for fee in (self.max_fee, self.priority_fee)
        )
        return Fees(max_fee, priority_fee)

    def at_least(self, other: "Fees") -> "Fees":
        return Fees(max(self.max_fee, other.max_fee), max(self.priority_fee, other.priority_fee))


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the escrow that any relayer may send."""

    calldata: str
    gas: int
    fees: Fees

    @property
    def cost(self) -> int:
        """Wei that it costs at most."""
        return self.gas * self.fees.max_fee

    @property
    def cost_gwei(self) -> int:
        """What it costs at most."""
        return in_gwei(self.cost)


def in_gwei(wei: int) -> int:
    """Rounded up."""
    return -(-wei // GWEI)


def prepare(escrow: Escrow, sender: str, calldata: str, ceiling: int) -> Call | None:
    """Estimate a call of the escrow; None when it needs more gas than one transaction may have.

    Raises web3's ContractLogicError when the call would revert, ChainError when a unit of gas
    costs more than the ceiling (wei).
    """
    eth = escrow.web3.eth
    try:
        estimate = eth.estimate_gas(
            {
                "from": Web3.to_checksum_address(sender),
                "to": escrow.contract.address,
                "data": HexBytes(calldata),
            }
        )
    except Web3RPCError as error:
        if not says(error, _TOO_MUCH_GAS):
            raise
        return None
    except ContractCustomError as error:
        if _PUSH_LACKS_GAS not in explain_revert(escrow.contract.abi, error):
            raise
        return None
    gas = estimate + estimate * GAS_MARGIN_PERCENT // 100
    if gas > min(GAS_LIMIT, int(eth.get_block("latest")["gasLimit"])):
        return None
    return Call(calldata, gas, current_fees(escrow, ceiling))


def current_fees(escrow: Escrow, ceiling: int) -> Fees:
    """Fees with which a transaction is mined soon. Raises ChainError above the ceiling (wei)."""
    eth = escrow.web3.eth
    base = int(eth.get_block("latest")["baseFeePerGas"])
    tip = int(eth.max_priority_fee)
    if base + tip > ceiling:
        raise ChainError(
            f"gas costs {(base + tip) // GWEI} gwei, more than the ceiling", hint=CEILING_HINT
        )
    return Fees(min(2 * base + tip, ceiling), tip)


def says(error: Web3RPCError, words: Iterable[str]) -> bool:
    """Whether a node's refusal holds one of some words."""
    text = str(error.message).lower()
    return any(word in text for word in words)
