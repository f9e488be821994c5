// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Maps a random word to `min`, to `max`, or to anything between: each end gets an eighth.
function bound(uint256 random, uint256 min, uint256 max) pure returns (uint256) {
    if (random % 8 == 0) return min;
    if (random % 8 == 1) return max;
    return min + (random / 8) % (max - min + 1);
}
