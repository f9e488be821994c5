"""Sending a transaction from a person's own wallet, and explaining why one is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eth_abi import abi as eth_abi
from eth_abi.exceptions import DecodingError
from eth_account.signers.local import LocalAccount
from eth_typing import ABI
from eth_utils.abi import (
    function_abi_to_4byte_selector,
    get_abi_input_names,
    get_abi_input_types,
)
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractConstructor, ContractFunction
from web3.exceptions import (
    ContractCustomError,
    ContractLogicError,
    TimeExhausted,
    TransactionNotFound,
    Web3RPCError,
)
from web3.types import TxParams, TxReceipt, Wei

from aitbc.chain.escrow import Escrow
from aitbc.chain.node import NODE_FAILURES, reason
from aitbc.errors import ChainError

GAS_MARGIN_PERCENT = 20
GWEI = 10**9
MAXIMUM_FEE = 500 * GWEI
"""The most that is paid for a unit of gas (wei), whatever a node says it costs."""
FEE_HINT = "wait, or check the price of gas with another node: aitbc config set rpc_url URL"
ALREADY_SENT = ("already known", "already imported")
"""How nodes say that they have a transaction."""
RECEIPT_TIMEOUT_SECONDS = 180
RECEIPT_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Sent:
    """A mined, successful transaction."""

    tx_hash: str
    receipt: TxReceipt


def send(
    escrow: Escrow,
    account: LocalAccount,
    function: ContractFunction,
    *,
    value: int = 0,
    on_sent: Callable[[str], None] | None = None,
) -> Sent:
    """Simulate, sign, send and wait for a call of the escrow or of its token.

    `on_sent` gets the transaction's hash before the wait. Raises ChainError, saying why, when the
    contract or the node refuses it; nothing was sent then unless the message carries a hash.
    """
    try:
        transaction = build(escrow, account.address, function, value)
    except (ContractLogicError, ContractCustomError) as error:
        raise ChainError(explain_revert(function.contract_abi, error)) from error
    except Web3RPCError as error:
        raise _refused(account.address, error) from error
    except NODE_FAILURES as error:
        raise ChainError(f"the node failed before anything was sent: {reason(error)}") from error
    signed = account.sign_transaction(transaction)  # type: ignore[arg-type]  # TxParams is stricter
    tx_hash = HexBytes(signed.hash).to_0x_hex()
    try:
        escrow.web3.eth.send_raw_transaction(signed.raw_transaction)
    except Web3RPCError as error:
        if not any(words in str(error.message).lower() for words in ALREADY_SENT):
            raise _refused(account.address, error, tx_hash) from error
    except NODE_FAILURES as error:
        # The node may have it all the same.
        if on_sent is not None:
            on_sent(tx_hash)
        raise _unknown(tx_hash) from error
    if on_sent is not None:
        on_sent(tx_hash)
    return Sent(tx_hash, wait(escrow.web3, tx_hash))


def build(escrow: Escrow, sender: str, function: ContractFunction, value: int = 0) -> TxParams:
    """A call of the escrow or of its token; see `build_call`."""
    return build_call(escrow.web3, escrow.domain.chain_id, sender, function, value)


def build_call(
    web3: Web3,
    chain_id: int,
    sender: str,
    call: ContractFunction | ContractConstructor,
    value: int = 0,
    *,
    ceiling: int = MAXIMUM_FEE,
    hint: str = FEE_HINT,
) -> TxParams:
    """An EIP-1559 transaction for a chain, whatever chain the node names.

    Gas is estimated, plus a margin. Raises web3's errors, and ChainError with `hint` where a unit
    of gas costs more than `ceiling` (wei).
    """
    eth, account = web3.eth, Web3.to_checksum_address(sender)
    gas = call.estimate_gas({"from": account, "value": Wei(value)})
    base_fee, tip = int(eth.get_block("latest")["baseFeePerGas"]), int(eth.max_priority_fee)
    if base_fee + tip > ceiling:
        raise ChainError(
            f"the node asks {(base_fee + tip) // GWEI} gwei for gas: more than this program pays",
            hint=hint,
        )
    return call.build_transaction(
        {
            "chainId": chain_id,
            "from": account,
            "value": Wei(value),
            "nonce": eth.get_transaction_count(account, "pending"),
            "gas": gas + gas * GAS_MARGIN_PERCENT // 100,
            "maxFeePerGas": Wei(min(2 * base_fee + tip, ceiling)),
            "maxPriorityFeePerGas": Wei(tip),
        }
    )


def wait(web3: Web3, tx_hash: str) -> TxReceipt:
    """The receipt of a sent transaction. Raises ChainError when it failed or is not mined yet."""
    try:
        receipt = web3.eth.wait_for_transaction_receipt(
            HexBytes(tx_hash), RECEIPT_TIMEOUT_SECONDS, RECEIPT_POLL_SECONDS
        )
    except (TimeExhausted, TransactionNotFound, *NODE_FAILURES) as error:
        raise _unknown(tx_hash) from error
    if receipt["status"] != 1:
        raise ChainError(f"transaction {tx_hash} was mined and reverted: nothing was moved")
    return receipt


def explain_revert(abi: ABI, error: Exception) -> str:
    """A custom error of a contract with its values by name, or the node's own words."""
    data = getattr(error, "data", None)
    if isinstance(data, str) and data.startswith("0x"):
        decoded = decode_custom_error(abi, HexBytes(data))
        if decoded is not None:
            return f"the contract refuses: {decoded}"
    return f"the contract refuses: {error}"


def decode_custom_error(abi: ABI, data: HexBytes) -> str | None:
    """`Name(field=value, …)` for a custom error of a contract, else None."""
    for item in abi:
        if item["type"] != "error" or function_abi_to_4byte_selector(item) != data[:4]:
            continue
        try:
            values = eth_abi.decode(get_abi_input_types(item), data[4:])
        except DecodingError:
            return None
        named = zip(get_abi_input_names(item), values, strict=True)
        shown = ", ".join(f"{name}={_show(value)}" for name, value in named)
        return f"{item['name']}({shown})"
    return None


def _show(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def _refused(sender: str, error: Web3RPCError, tx_hash: str | None = None) -> ChainError:
    text = str(error.message)
    if "insufficient funds" in text.lower():
        return ChainError(
            f"{sender} has not enough coin for this transaction and its gas",
            hint="send it some coin of the chain, then try again",
        )
    if tx_hash is None:
        return ChainError(f"the node refuses the transaction: {text}")
    return ChainError(
        f"the node refuses transaction {tx_hash}: {text}",
        hint="look it up before you send another",
    )


def _unknown(tx_hash: str) -> ChainError:
    return ChainError(
        f"transaction {tx_hash} was sent, and is not confirmed yet",
        hint="look it up before you send another: it may still be mined",
    )
