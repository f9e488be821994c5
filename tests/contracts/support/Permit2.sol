// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {vm} from "./Vm.sol";

/// @title What the tests look at in Permit2, and the escrow does not
interface IPermit2Contract {
    error InvalidContractSignature();
    error InvalidNonce();
    error InvalidSignatureLength();
    error InvalidSigner();

    function invalidateUnorderedNonces(uint256 wordPosition, uint256 mask) external;
    function nonceBitmap(address owner, uint256 wordPosition) external view returns (uint256);
}

/// @title The real Permit2, from the package that ships its creation code
library Permit2 {
    address internal constant ADDRESS = 0x000000000022D473030F116dDEE9F6B43aC78BA3;
    string private constant PACKAGED =
        "node_modules/@uniswap/uniswapx-sdk/dist/cjs/src/contracts/factories/Permit2__factory.js";

    /// @dev Runs the constructor at the canonical address, which its domain separator commits to.
    function install() internal {
        vm.etch(ADDRESS, creationCode());
        // solhint-disable-next-line avoid-low-level-calls
        (bool ok, bytes memory runtime) = ADDRESS.call("");
        require(ok, "Permit2 was not constructed");
        vm.etch(ADDRESS, runtime);
    }

    function creationCode() internal view returns (bytes memory code) {
        string[] memory parts = vm.split(vm.readFile(PACKAGED), "\"0x");
        for (uint256 i = 1; i < parts.length; ++i) {
            string memory hex_ = vm.split(parts[i], "\"")[0];
            if (bytes(hex_).length > 2 * code.length) code = vm.parseBytes(hex_);
        }
    }
}
