// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token that takes every call, as wrapped ether does, and does nothing for those it does not know
/// @dev So that permits and authorizations seem to succeed.
contract PhantomToken is ERC20 {
    constructor() ERC20("Phantom", "PHT") {}

    // solhint-disable-next-line no-empty-blocks, no-complex-fallback
    fallback() external {}

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}
