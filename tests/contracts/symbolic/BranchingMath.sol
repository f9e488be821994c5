// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What the escrow uses of OpenZeppelin's `Math`, with branches
/// @dev Takes its place in the proofs: a solver is lost in products of unknowns. `check_BranchesChangeNothing` proves
/// that the two are the same.
library Math {
    function max(uint256 a, uint256 b) internal pure returns (uint256) {
        return a > b ? a : b;
    }

    function min(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }
}
