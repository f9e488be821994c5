// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {HostileWallet} from "./HostileWallet.sol";

/// @title An ERC-20 token with one of the known ways of breaking the standard
contract HostileToken is ERC20 {
    enum Mode {
        Honest,
        /// Returns false and moves nothing.
        ReturnsFalse,
        /// Moves the money and returns nothing.
        ReturnsNothing,
        /// Moves the money and returns two words, the first of them 2.
        ReturnsNonsense,
        /// Keeps a hundredth of what it moves.
        TakesFee,
        /// Calls the other side of a movement when it has code.
        CallsBack
    }

    Mode public mode;
    mapping(address account => bool) public denied;

    constructor() ERC20("Hostile", "BAD") {}

    function setMode(Mode mode_) external {
        mode = mode_;
    }

    function deny(address account) external {
        denied[account] = true;
    }

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (mode == Mode.ReturnsFalse) return false;
        return _answer(super.transfer(to, amount));
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (mode == Mode.ReturnsFalse) return false;
        return _answer(super.transferFrom(from, to, amount));
    }

    function _update(address from, address to, uint256 amount) internal override {
        require(!denied[from] && !denied[to], "denied");
        super._update(from, to, amount);
        if (mode == Mode.TakesFee && from != address(0)) super._update(to, address(0), amount / 100);
        if (mode == Mode.CallsBack) {
            address other = to == msg.sender ? from : to;
            if (other.code.length > 0) HostileWallet(payable(other)).onPaid();
        }
    }

    function _answer(bool moved) private view returns (bool) {
        if (mode == Mode.ReturnsNothing) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        if (mode == Mode.ReturnsNonsense) {
            assembly ("memory-safe") {
                mstore(0, 2)
                return(0, 0x40)
            }
        }
        return moved;
    }
}
