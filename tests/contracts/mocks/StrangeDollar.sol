// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestDollar} from "../../../contracts/test/TestDollar.sol";

/// @title A dollar with the known ways of breaking ERC-20
contract StrangeDollar is TestDollar {
    enum Mode {
        Honest,
        /// Moves nothing for anybody.
        Paused,
        /// Returns false and moves nothing.
        SaysFalse,
        /// Moves the money and returns nothing.
        SaysNothing,
        /// Moves the money and returns two words, the first of them 2.
        SaysNonsense,
        /// Tells nobody's balance.
        HidesBalances
    }

    error StrangeDollar_Paused();
    error StrangeDollar_Hidden();

    Mode public mode;
    /// @notice What a recipient gets beyond what is moved to it, or less if negative.
    int256 public drift;

    function setMode(Mode mode_) external {
        mode = mode_;
    }

    function setDrift(int256 drift_) external {
        drift = drift_;
    }

    /// @notice As a rebase does, without a movement.
    function shrink(address holder, uint256 amount) external {
        _burn(holder, amount);
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (mode == Mode.SaysFalse) return false;
        return _say(super.transfer(to, amount));
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (mode == Mode.SaysFalse) return false;
        return _say(super.transferFrom(from, to, amount));
    }

    function balanceOf(address account) public view override returns (uint256) {
        require(mode != Mode.HidesBalances, StrangeDollar_Hidden());
        return super.balanceOf(account);
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from == address(0) || to == address(0)) return;

        require(mode != Mode.Paused, StrangeDollar_Paused());
        if (drift < 0) _burn(to, uint256(-drift));
        else if (drift > 0) _mint(to, uint256(drift));
    }

    function _say(bool moved) private view returns (bool) {
        if (mode == Mode.SaysNothing) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
        if (mode == Mode.SaysNonsense) {
            assembly ("memory-safe") {
                mstore(0, 2)
                return(0, 0x40)
            }
        }
        return moved;
    }
}
