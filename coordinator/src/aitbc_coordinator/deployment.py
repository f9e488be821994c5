"""Deploys the shipped escrow with the relayer's key: once, however often it is begun.

The signed transaction is kept in the home before any node has it. Whoever repeats the command goes
on with those very bytes, which one nonce lets the chain take once.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from pydantic import BaseModel, ConfigDict, ValidationError
from web3 import Web3
from web3.contract.contract import ContractConstructor
from web3.exceptions import (
    BadFunctionCallOutput,
    ContractLogicError,
    TransactionNotFound,
    Web3RPCError,
)
from web3.types import TxReceipt
from web3.utils import get_create_address

from aitbc.chain.escrow import ERC20_ABI
from aitbc.chain.node import NODE_FAILURES, reason
from aitbc.chain.transactions import ALREADY_SENT, build_call
from aitbc.errors import ChainError, InvalidInput
from aitbc.files import write_private
from aitbc.protocol.artifacts import load_artifact
from aitbc.protocol.types import Address
from aitbc.protocol.units import NATIVE_COIN, format_amount
from aitbc_coordinator.nodes import consistently
from aitbc_coordinator.signers.protocols import TransactionSigner
from aitbc_coordinator.wish import Wish

FILE = "deployment.json"
PATIENCE_SECONDS = 180
PAUSE_SECONDS = 0.5
FEE_HINT = "raise maximum_fee_gwei, or wait for gas to become cheaper"
TAKEN_MEANWHILE = (*ALREADY_SENT, "nonce too low")
"""How nodes refuse what they have, or had a moment before: the next look at the chain tells."""


class Begun(BaseModel):
    """A deployment that was signed, and may have been sent."""

    model_config = ConfigDict(frozen=True)

    wish: Wish
    attester: Address
    chain_id: int
    nonce: int
    raw: str
    tx_hash: str
    escrow: Address


class Deployed(BaseModel):
    escrow: str
    block: int


def read(folder: Path) -> Begun | None:
    """The deployment that was begun in a home. Raises InvalidInput for a file that is none."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return Begun.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise InvalidInput(
            f"{path} is no deployment of this program", hint="put it back, or use another home"
        ) from error


def deploy(
    web3: Web3,
    wish: Wish,
    relayer: TransactionSigner,
    *,
    attester: str,
    folder: Path,
    confirmations: int,
    ceiling: int,
    say: Callable[[str], None],
) -> Deployed:
    """Deploy, or go on with what was begun, until so many blocks are on top of it.

    The relayer pays at most `ceiling` (wei) for a unit of gas. Raises InvalidInput where another
    market was begun in the home, and ChainError where the node fails or refuses; to repeat it goes
    on from there.
    """
    try:
        begun = read(folder)
        if begun is None:
            begun = _kept(folder, _sign(web3, wish, relayer, attester, ceiling))
        if (begun.wish, begun.attester, begun.chain_id) != (wish, attester, web3.eth.chain_id):
            raise InvalidInput(
                "another market was begun in this home: "
                f"{begun.wish.options} on chain {begun.chain_id}",
                hint="repeat that command, or set AITBC_COORDINATOR_HOME for another market",
            )
        say(f"deploying {wish.contract} in transaction {begun.tx_hash}")
        block = _bring_into_chain(web3, begun, folder / FILE, confirmations)
    except NODE_FAILURES as error:
        raise ChainError(
            f"the node failed while the escrow was deployed: {reason(error)}",
            hint="run the same command again: it goes on, and deploys nothing twice",
        ) from error
    return Deployed(escrow=begun.escrow, block=block)


def _kept(folder: Path, signed: Begun) -> Begun:
    """What counts in this home from now on: what was signed, or what another run kept first."""
    with suppress(FileExistsError):
        write_private(folder / FILE, signed.model_dump_json(indent=2), replace=False)
    return read(folder) or signed


def _sign(web3: Web3, wish: Wish, relayer: TransactionSigner, attester: str, ceiling: int) -> Begun:
    if wish.arbiter == attester:
        raise InvalidInput("--arbiter must not be this coordinator's attester")
    if wish.token is not None:
        _check_token(web3, wish.token)
    chain_id = int(web3.eth.chain_id)
    constructor = _constructor(web3, wish, attester)
    transaction = build_call(
        web3, chain_id, relayer.address, constructor, ceiling=ceiling, hint=FEE_HINT
    )
    _check_coin(web3, relayer.address, _cost(transaction))
    signed = relayer.sign_transaction(dict(transaction))
    nonce = transaction["nonce"]
    return Begun(
        wish=wish,
        attester=attester,
        chain_id=chain_id,
        nonce=nonce,
        raw=HexBytes(signed.raw_transaction).to_0x_hex(),
        tx_hash=HexBytes(signed.hash).to_0x_hex(),
        escrow=get_create_address(relayer.address, nonce),
    )


def _constructor(web3: Web3, wish: Wish, attester: str) -> ContractConstructor:
    artifact = load_artifact(wish.contract)
    contract: Any = web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    parties = (attester, wish.arbiter, wish.fee_bps, wish.fee_recipient, wish.claim_window)
    made: ContractConstructor = contract.constructor(
        *(parties if wish.token is None else (wish.token, *parties))
    )
    return made


def _check_token(web3: Web3, token: str) -> None:
    address = to_checksum_address(token)
    if not web3.eth.get_code(address):
        raise InvalidInput(f"there is no contract at {token}", hint="check --token and --rpc")
    functions = web3.eth.contract(address=address, abi=ERC20_ABI).functions
    try:
        functions.symbol().call()
        functions.decimals().call()
        functions.balanceOf(address).call()
    except (BadFunctionCallOutput, ContractLogicError, OverflowError) as error:
        raise InvalidInput(
            f"the contract at {token} is no ERC-20 token", hint="check --token and --rpc"
        ) from error


def _cost(transaction: Mapping[str, Any]) -> int:
    """The most that a transaction costs, in wei."""
    return int(transaction["gas"]) * int(transaction["maxFeePerGas"])


def _check_coin(web3: Web3, relayer: str, cost: int) -> None:
    """Raises ChainError unless the relayer can pay so much (wei)."""
    balance = int(web3.eth.get_balance(to_checksum_address(relayer)))
    if balance >= cost:
        return
    decimals = NATIVE_COIN.decimals
    raise ChainError(
        f"the relayer {relayer} has {format_amount(balance, decimals)} of the coin of chain "
        f"{web3.eth.chain_id}, and deploying costs up to {format_amount(cost, decimals)}",
        hint="send it coin for gas, and run the same command again",
    )


def _bring_into_chain(web3: Web3, begun: Begun, path: Path, confirmations: int) -> int:
    """The block of a deployment, once it is confirmed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        block = consistently(web3, lambda: _step(web3, begun, path, confirmations))
        if block is not None:
            return block
        time.sleep(PAUSE_SECONDS)
    raise ChainError(
        f"transaction {begun.tx_hash} is not confirmed yet",
        hint="run the same command again: it goes on waiting, and deploys nothing twice",
    )


def _step(web3: Web3, begun: Begun, path: Path, confirmations: int) -> int | None:
    """The block of a confirmed deployment; None, after what can be done for it, until then."""
    # Asked first: whatever is in this block, the node tells the receipt of.
    head = int(web3.eth.block_number)
    receipt = _receipt(web3, begun.tx_hash)
    if receipt is None:
        _send_again(web3, begun, path, max(head - confirmations, 0))
        return None
    block = int(receipt["blockNumber"])
    if head - block < confirmations:
        return None
    if receipt["status"] != 1 or receipt["contractAddress"] != begun.escrow:
        raise ChainError(
            f"transaction {begun.tx_hash} was mined, and made no escrow",
            hint=f"remove {path} and run the same command again: it deploys anew",
        )
    return block


def _receipt(web3: Web3, tx_hash: str) -> TxReceipt | None:
    try:
        return web3.eth.get_transaction_receipt(HexBytes(tx_hash))
    except TransactionNotFound:
        return None


def _send_again(web3: Web3, begun: Begun, path: Path, confirmed: int) -> None:
    """Give the node what it does not have. Raises ChainError where it can never be mined.

    `confirmed` is the newest block that is not expected to be replaced.
    """
    sender = web3.eth.account.recover_transaction(HexBytes(begun.raw))
    if int(web3.eth.get_transaction_count(sender)) <= begun.nonce:
        _send(web3, begun, sender)
        return
    # Asked for once more: it may have been mined since.
    if _receipt(web3, begun.tx_hash) is not None:
        return
    if web3.eth.get_code(to_checksum_address(begun.escrow)):
        raise ChainError(
            f"there is a contract at {begun.escrow}, and the node does not tell the receipt of "
            f"transaction {begun.tx_hash}, which was to deploy it",
            hint="name another node with --rpc, one that keeps old receipts",
        )
    if int(web3.eth.get_transaction_count(sender, confirmed)) > begun.nonce:
        raise ChainError(
            f"another transaction of the relayer {sender} took nonce {begun.nonce}: "
            f"{begun.tx_hash}, which was to deploy, cannot be mined any more",
            hint=f"nothing was deployed: remove {path} and run the same command again",
        )


def _send(web3: Web3, begun: Begun, sender: str) -> None:
    try:
        web3.eth.get_transaction(HexBytes(begun.tx_hash))
    except TransactionNotFound:
        raw = HexBytes(begun.raw)
        _check_coin(web3, sender, _cost(TypedTransaction.from_bytes(raw).as_dict()))
        try:
            web3.eth.send_raw_transaction(raw)
        except Web3RPCError as error:
            if not any(words in str(error.message).lower() for words in TAKEN_MEANWHILE):
                raise
