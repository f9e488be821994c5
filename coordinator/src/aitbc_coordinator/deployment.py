"""Deploys the shipped escrow with the relayer's key: once, however often it is begun.

The signed transaction is kept in the home before any node has it. Whoever repeats the command goes
on with those very bytes, which one nonce lets the chain take once.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
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
from aitbc.protocol.artifacts import EscrowName, load_artifact
from aitbc.protocol.types import Address
from aitbc.protocol.units import NATIVE_COIN, format_amount

FILE = "deployment.json"
MAX_FEE_BPS = 1_000
MAX_CLAIM_WINDOW = 90 * 86_400
NOBODY = "0x" + "00" * 20
PATIENCE_SECONDS = 180
PAUSE_SECONDS = 0.5


class Wish(BaseModel):
    """The market to make. All of it is immutable in its escrow."""

    model_config = ConfigDict(frozen=True)

    token: Address | None
    """The ERC-20 token that the escrow holds; None for the chain's own coin."""
    arbiter: Address = NOBODY
    """Nobody: there are no disputes."""
    fee_bps: int = Field(100, ge=0, le=MAX_FEE_BPS)
    fee_recipient: Address
    claim_window: int = Field(86_400, ge=1, le=MAX_CLAIM_WINDOW)
    """Seconds after the end of a booking in which it can be settled."""

    @model_validator(mode="after")
    def _somebody_earns_the_fees(self) -> "Wish":
        if self.fee_recipient == NOBODY:
            raise ValueError("--fee-recipient must not be the zero address")
        return self

    @property
    def contract(self) -> EscrowName:
        return "NativeEscrow" if self.token is None else "TokenEscrow"


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
    relayer: LocalAccount,
    *,
    attester: str,
    folder: Path,
    confirmations: int,
    say: Callable[[str], None],
) -> Deployed:
    """Deploy, or go on with what was begun, until so many blocks are on top of it.

    Raises InvalidInput where another market was begun in the home, and ChainError where the node
    fails or refuses; to repeat it goes on from there.
    """
    begun = read(folder)
    try:
        if begun is None:
            begun = _sign(web3, wish, relayer, attester)
            write_private(folder / FILE, begun.model_dump_json(indent=2))
        elif (begun.wish, begun.attester, begun.chain_id) != (wish, attester, web3.eth.chain_id):
            raise InvalidInput(
                f"another market was begun in this home: {_described(begun)}",
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


def _sign(web3: Web3, wish: Wish, relayer: LocalAccount, attester: str) -> Begun:
    if wish.arbiter == attester:
        raise InvalidInput("--arbiter must not be this coordinator's attester")
    if wish.token is not None:
        _check_token(web3, wish.token)
    chain_id = int(web3.eth.chain_id)
    constructor = _constructor(web3, wish, attester)
    transaction = build_call(web3, chain_id, relayer.address, constructor)
    _check_coin(web3, relayer.address, int(transaction["gas"]) * int(transaction["maxFeePerGas"]))
    signed = relayer.sign_transaction(transaction)  # type: ignore[arg-type]  # TxParams is stricter
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


def _check_coin(web3: Web3, relayer: str, cost: int) -> None:
    """Raises ChainError unless the relayer can pay so much (wei)."""
    balance = int(web3.eth.get_balance(to_checksum_address(relayer)))
    if balance >= cost:
        return
    decimals = NATIVE_COIN.decimals
    raise ChainError(
        f"the relayer {relayer} has {format_amount(balance, decimals)} of the coin of chain "
        f"{web3.eth.chain_id}, and deploying costs up to {format_amount(cost, decimals)}",
        hint="send it coin for gas, and run the same command again: nothing was sent",
    )


def _bring_into_chain(web3: Web3, begun: Begun, path: Path, confirmations: int) -> int:
    """The block of a deployment that is confirmed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    sent = False
    while time.monotonic() < deadline:
        receipt = _receipt(web3, begun.tx_hash)
        if receipt is not None:
            _check_success(begun, receipt)
            block = int(receipt["blockNumber"])
            if int(web3.eth.block_number) - block >= confirmations:
                return block
        elif not sent:
            _check_nonce(web3, begun, path)
            _send(web3, begun)
            sent = True
        time.sleep(PAUSE_SECONDS)
    raise ChainError(
        f"transaction {begun.tx_hash} is not confirmed yet",
        hint="run the same command again: it goes on waiting, and deploys nothing twice",
    )


def _receipt(web3: Web3, tx_hash: str) -> TxReceipt | None:
    try:
        return web3.eth.get_transaction_receipt(HexBytes(tx_hash))
    except TransactionNotFound:
        return None


def _check_success(begun: Begun, receipt: TxReceipt) -> None:
    if receipt["status"] != 1 or receipt["contractAddress"] != begun.escrow:
        raise ChainError(
            f"transaction {begun.tx_hash} was mined, and made no escrow",
            hint="set AITBC_COORDINATOR_HOME for another try: this one's nonce is spent",
        )


def _check_nonce(web3: Web3, begun: Begun, path: Path) -> None:
    """Raises ChainError where another transaction has the nonce: this one can never be mined."""
    sender = web3.eth.account.recover_transaction(HexBytes(begun.raw))
    used = int(web3.eth.get_transaction_count(sender)) > begun.nonce
    if used and _receipt(web3, begun.tx_hash) is None:
        raise ChainError(
            f"another transaction of the relayer {sender} took nonce {begun.nonce}: "
            f"{begun.tx_hash}, which was to deploy, cannot be mined any more",
            hint=f"nothing was deployed: remove {path} and run the same command again",
        )


def _send(web3: Web3, begun: Begun) -> None:
    try:
        web3.eth.send_raw_transaction(HexBytes(begun.raw))
    except Web3RPCError as error:
        if not any(words in str(error.message).lower() for words in ALREADY_SENT):
            raise


def _described(begun: Begun) -> str:
    wish = begun.wish
    money = "--native" if wish.token is None else f"--token {wish.token}"
    return (
        f"{money} --fee-bps {wish.fee_bps} --fee-recipient {wish.fee_recipient} "
        f"--arbiter {wish.arbiter} --claim-window {wish.claim_window} on chain {begun.chain_id}"
    )
