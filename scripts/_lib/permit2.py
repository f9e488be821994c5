"""The canonical Permit2, as Uniswap's own package carries it, put on a local node."""

import re

from web3 import Web3

from local_market import ROOT, LocalMarketError

ADDRESS = Web3.to_checksum_address("0x000000000022D473030F116dDEE9F6B43aC78BA3")

_FACTORY = "@uniswap/uniswapx-sdk/dist/cjs/src/contracts/factories/Permit2__factory.js"
_DEPLOYER = Web3.to_checksum_address("0x4e59b44847b379578588920cA78FbF26c0B4956C")
_SALT = bytes.fromhex("d3af2663da51c10215000000").rjust(32, b"\0")


def creation_code() -> bytes:
    """The code that Uniswap deployed everywhere. Raises OSError where the package is missing."""
    source = (ROOT / "node_modules" / _FACTORY).read_text(encoding="utf-8")
    longest = max(re.findall(r'"0x([0-9a-f]+)"', source), key=len)
    return bytes.fromhex(longest)


def deploy(web3: Web3, sender: str) -> str:
    """Put Permit2 on a node through the deterministic deployer that anvil has; its address.

    Raises LocalMarketError if it lands elsewhere: the escrow knows the one address only.
    """
    if not web3.eth.get_code(ADDRESS):
        data = _SALT + creation_code()
        tx_hash = web3.eth.send_transaction({"from": sender, "to": _DEPLOYER, "data": data})
        web3.eth.wait_for_transaction_receipt(tx_hash, 60, 0.05)
        if not web3.eth.get_code(ADDRESS):
            raise LocalMarketError(f"Permit2 did not land on {ADDRESS}")
    return ADDRESS
