// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, IEscrow, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {EscrowTest} from "../../support/EscrowTest.sol";
import {NativeMarket, TokenMarket} from "../../support/Markets.sol";
import {vm} from "../../support/Vm.sol";
import {Words} from "../../support/Words.sol";

abstract contract IdOfTest is EscrowTest {
    function test_WhenEveryTermHasAValueOfItsOwn() external {
        Terms memory t = terms();
        bytes32 id = read(t);

        // it should be the first 28 bytes of the hash of seed and terms
        vm.assertEq(id >> 32, expected(t) >> 32);

        // it should end with endsAt
        vm.assertEq(uint32(uint256(id)), t.endsAt);
    }

    function test_WhenEveryTermIsTheLargestThereIs() external view {
        Terms memory t = Terms({
            buyer: address(type(uint160).max),
            provider: address(type(uint160).max),
            amount: type(uint88).max,
            fundBy: type(uint32).max,
            startsAt: type(uint32).max,
            endsAt: type(uint32).max,
            listing: bytes32(type(uint256).max),
            salt: type(uint64).max
        });

        // it should be the first 28 bytes of the hash of seed and terms
        vm.assertEq(read(t), expected(t));
    }

    function test_WhenOneTermIsAnother() external {
        Terms memory t = terms();
        bytes memory encoded = abi.encode(t);

        // it should be another id
        for (uint256 i; i < 8; ++i) {
            Terms memory other = abi.decode(Words.flip(encoded, i), (Terms));
            vm.assertNotEq(read(other), read(t));
            vm.assertEq(read(other), expected(other));
        }
    }

    function test_WhenTheContractIsAnother() external {
        Terms memory t = terms();
        bytes32 first = read(t);
        redeploy(attester.addr, arbiter.addr, feeRecipient.addr);

        // it should be another id
        vm.assertNotEq(read(t), first);
        vm.assertEq(read(t), expected(t));
    }

    function test_WhenTheContractWasDeployedOnAnotherChain() external {
        Terms memory t = terms();
        uint256 state = vm.snapshotState();
        IEscrow here = deployStandard();
        bytes32 first = readFrom(here, t);
        vm.revertToState(state);
        vm.chainId(block.chainid + 1);
        IEscrow there = deployStandard();

        // it should be another id
        vm.assertEq(address(there), address(here));
        vm.assertNotEq(readFrom(there, t), first);
    }

    function test_WhenTheChainIdChangesAfterTheDeployment() external {
        Terms memory t = terms();
        bytes32 before = read(t);
        vm.chainId(block.chainid + 1);

        // it should be the same id
        vm.assertEq(read(t), before);
    }

    function read(Terms memory t) internal view returns (bytes32) {
        return readFrom(escrow, t);
    }

    function readFrom(IEscrow from, Terms memory t) internal view returns (bytes32) {
        return BookingId.unwrap(from.idOf(t));
    }

    /// @dev The definition, term by term.
    function expected(Terms memory t) internal view returns (bytes32) {
        bytes32 digest = keccak256(
            abi.encode(
                keccak256(abi.encode(block.chainid, address(escrow))),
                t.buyer,
                t.provider,
                t.amount,
                t.fundBy,
                t.startsAt,
                t.endsAt,
                t.listing,
                t.salt
            )
        );
        return bytes32(abi.encodePacked(bytes28(digest), t.endsAt));
    }

    function deployStandard() internal returns (IEscrow) {
        return deploy(attester.addr, arbiter.addr, FEE_BPS, feeRecipient.addr, WINDOW);
    }
}

contract TokenIdOfTest is IdOfTest, TokenMarket {}

contract NativeIdOfTest is IdOfTest, NativeMarket {}
