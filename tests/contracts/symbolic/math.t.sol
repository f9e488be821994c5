// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Math as BranchingMath} from "./BranchingMath.sol";

/// @title The library that the proofs put in place of OpenZeppelin's gives the same results
contract MathProof {
    function check_BranchesChangeNothing(uint256 a, uint256 b) external pure {
        assert(Math.max(a, b) == BranchingMath.max(a, b));
        assert(Math.min(a, b) == BranchingMath.min(a, b));
    }
}
