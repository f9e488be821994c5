// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {BookingId, Terms} from "../../../../contracts/interfaces/IEscrow.sol";
import {Messages} from "../../../../contracts/libraries/Messages.sol";
import {vm} from "../../support/Vm.sol";

/// @dev Beside forge's own hash of the types as text.
contract MessagesTest {
    string private constant RECEIPT = "Receipt(bytes32 bookingId,uint256 earned)";
    string private constant COMPLETION = "Completion(bytes32 bookingId,uint256 earned,bytes32 evidence)";
    string private constant SETTLE_MANY = "SettleMany(bytes32[] bookingIds)";
    string private constant SETTLE_EACH = "SettleEach(Completion[] completions)";
    string private constant TERMS =
        "Terms(address buyer,address provider,uint88 amount,uint32 fundBy,uint32 startsAt,uint32 endsAt,bytes32 listing,uint64 salt)";

    bytes32 private constant ID = keccak256("id");
    bytes32 private constant OTHER_ID = keccak256("other id");
    bytes32 private constant EVIDENCE = keccak256("evidence");
    uint256 private constant EARNED = 12_345;

    struct Completion {
        bytes32 bookingId;
        uint256 earned;
        bytes32 evidence;
    }

    struct Batch {
        bytes32[] ids;
    }

    struct Completions {
        Completion[] completions;
    }

    function test_WhenTermsAreHashed() external pure {
        Terms memory terms = Terms({
            buyer: address(1),
            provider: address(2),
            amount: 3,
            fundBy: 4,
            startsAt: 5,
            endsAt: 6,
            listing: bytes32(uint256(7)),
            salt: 8
        });

        // it should be the struct hash of every field
        vm.assertEq(Messages.terms(terms), vm.eip712HashStruct(TERMS, abi.encode(terms)));
    }

    function test_WhenAReceiptIsHashed() external pure {
        // it should be the struct hash of its id and what was earned
        vm.assertEq(Messages.receipt(BookingId.wrap(ID), EARNED), vm.eip712HashStruct(RECEIPT, abi.encode(ID, EARNED)));
    }

    function test_WhenACompletionIsHashed() external pure {
        // it should be the struct hash of its id, what was earned and the evidence
        vm.assertEq(
            Messages.completion(BookingId.wrap(ID), EARNED, EVIDENCE),
            vm.eip712HashStruct(COMPLETION, abi.encode(ID, EARNED, EVIDENCE))
        );
    }

    function test_WhenABatchOfIdsIsHashed() external view {
        bytes32[] memory ids = new bytes32[](2);
        (ids[0], ids[1]) = (ID, OTHER_ID);
        BookingId[] memory batch = new BookingId[](2);
        (batch[0], batch[1]) = (BookingId.wrap(ID), BookingId.wrap(OTHER_ID));

        // it should be the struct hash of all ids in order
        vm.assertEq(this.settleMany(batch), vm.eip712HashStruct(SETTLE_MANY, abi.encode(Batch(ids))));
    }

    function test_WhenABatchOfCompletionsIsHashed() external pure {
        Completion[] memory completions = new Completion[](2);
        completions[0] = Completion(ID, EARNED, EVIDENCE);
        completions[1] = Completion(OTHER_ID, EARNED + 1, 0);
        bytes32[] memory hashes = new bytes32[](2);
        for (uint256 i; i < hashes.length; ++i) {
            hashes[i] = vm.eip712HashStruct(COMPLETION, abi.encode(completions[i]));
        }

        // it should be the struct hash of all completions in order
        string memory types = string.concat(SETTLE_EACH, COMPLETION);
        vm.assertEq(Messages.settleEach(hashes), vm.eip712HashStruct(types, abi.encode(Completions(completions))));
    }

    function test_WhenPermit2AppendsTheWitnessToItsType() external pure {
        string memory permit =
            "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,";

        // it should name every field of terms
        string memory all =
            string.concat(permit, "Terms witness)", TERMS, "TokenPermissions(address token,uint256 amount)");
        vm.assertEq(keccak256(bytes(string.concat(permit, Messages.PERMIT2_WITNESS))), keccak256(bytes(all)));
    }

    function settleMany(BookingId[] calldata ids) external pure returns (bytes32) {
        return Messages.settleMany(ids);
    }
}
