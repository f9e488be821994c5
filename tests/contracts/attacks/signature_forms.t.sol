// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Messages} from "../../../contracts/libraries/Messages.sol";
import {BookedTest} from "../support/BookedTest.sol";
import {NativeMarket, TokenMarket} from "../support/Markets.sol";
import {vm} from "../support/Vm.sol";

/// @title Signatures of the right signer in another form, and signatures of nobody
/// @dev One form is taken: 65 bytes, r, s in the lower half of the curve's order, and v of 27 or 28.
abstract contract SignatureFormsTest is BookedTest {
    uint256 private constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    uint256 private constant EARNED = 5;

    bytes32 private _r;
    bytes32 private _s;
    uint8 private _v;

    modifier givenTheAttesterSigned() {
        booked = funded();
        vm.warp(booked.endsAt);
        (_v, _r, _s) = vm.sign(attester.key, digestOf(completion()));
        _;
    }

    function test_TakesTheOneForm() external givenTheAttesterSigned {
        escrow.settle(booked, EARNED, EVIDENCE, abi.encodePacked(_r, _s, _v));

        assertDeleted(booked);
    }

    function test_MirrorsS() external givenTheAttesterSigned {
        bytes32 highS = bytes32(ORDER - uint256(_s));

        refused(abi.encodePacked(_r, highS, 55 - _v));
        refused(abi.encodePacked(_r, highS, _v));
    }

    function test_AltersV() external givenTheAttesterSigned {
        uint8[8] memory bad = [0, 1, 2, 26, 29, 30, 128, 255];
        for (uint256 i; i < bad.length; ++i) {
            refused(abi.encodePacked(_r, _s, bad[i]));
        }
        refused(abi.encodePacked(_r, _s, 55 - _v));
    }

    function test_AltersRAndS() external givenTheAttesterSigned {
        refused(abi.encodePacked(bytes32(uint256(_r) ^ 1), _s, _v));
        refused(abi.encodePacked(_r, bytes32(uint256(_s) ^ 1), _v));
    }

    /// @dev EIP-2098: the same signature in 64 bytes.
    function test_CompactsTheSignature() external givenTheAttesterSigned {
        bytes32 vs = bytes32(uint256(_s) | (uint256(_v - 27) << 255));

        refused(abi.encodePacked(_r, vs));
    }

    function test_CutsOrExtendsTheSignature() external givenTheAttesterSigned {
        bytes memory whole = abi.encodePacked(_r, _s, _v, bytes32(0));
        for (uint256 length; length <= whole.length; ++length) {
            if (length == 65) continue;
            bytes memory part = new bytes(length);
            for (uint256 i; i < length; ++i) {
                part[i] = whole[i];
            }
            refused(part);
        }
    }

    /// @dev What ecrecover answers with 0, which is no account's address.
    function test_SignsForNobody() external givenTheAttesterSigned {
        refused(new bytes(65));
        refused(abi.encodePacked(bytes32(0), bytes32(0), uint8(27)));
        refused(abi.encodePacked(_r, bytes32(0), uint8(28)));
        refused(abi.encodePacked(bytes32(0), _s, uint8(27)));
        refused(abi.encodePacked(bytes32(ORDER), _s, uint8(27)));
    }

    /* HELPERS */

    function completion() private view returns (bytes32) {
        return Messages.completion(idOf(booked), EARNED, EVIDENCE);
    }

    /// @dev As a completion and as a receipt.
    function refused(bytes memory signature) private {
        expectInvalidSignature(completion());
        escrow.settle(booked, EARNED, EVIDENCE, signature);
        expectInvalidSignature(Messages.receipt(idOf(booked), EARNED));
        escrow.claim(booked, EARNED, signature);
    }
}

contract TokenSignatureFormsTest is SignatureFormsTest, TokenMarket {}

contract NativeSignatureFormsTest is SignatureFormsTest, NativeMarket {}
