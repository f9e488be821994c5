// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {EscrowTest} from "../support/EscrowTest.sol";
import {bound} from "../support/Fuzz.sol";
import {vm} from "../support/Vm.sol";

/// @notice Seeds of a booking's terms.
struct Shape {
    uint256 amount;
    uint256 startsIn;
    uint256 lasts;
}

/// @notice What two ways to the same end are compared by.
struct Totals {
    uint256 provider;
    uint256 buyer;
    uint256 fees;
    uint256 escrow;
}

/// @title Bookings of any amount and any length
abstract contract FuzzTest is EscrowTest {
    uint256 internal constant YEAR = 365 days;

    /// @dev Funded, with money that the buyer is given for it.
    function book(Shape memory shape) internal returns (Terms memory t) {
        t = terms();
        t.amount = uint88(bound(shape.amount, 1, type(uint88).max));
        t.fundBy = uint32(block.timestamp + 1);
        t.startsAt = uint32(t.fundBy + bound(shape.startsIn, 0, YEAR));
        t.endsAt = uint32(t.startsAt + bound(shape.lasts, 1, YEAR));
        give(t.buyer, t.amount);
        fund(t);
    }

    /// @dev The same terms once more, under another id.
    function bookTwin(Terms memory t) internal returns (Terms memory twin) {
        twin = abi.decode(abi.encode(t), (Terms));
        twin.salt = terms().salt;
        give(twin.buyer, twin.amount);
        fund(twin);
    }

    function capOf(Terms memory t, uint256 time) internal pure returns (uint256) {
        if (time <= t.startsAt) return 0;
        if (time >= t.endsAt) return t.amount;
        return uint256(t.amount) * (time - t.startsAt) / (t.endsAt - t.startsAt);
    }

    /// @dev The buyer lets the provider have a part.
    function claimPart(Terms memory t, uint256 part) internal returns (uint256 claimed) {
        claimed = bound(part, 0, t.amount);
        claim(t, claimed, buyer);
    }

    function totals() internal view returns (Totals memory) {
        return Totals({
            provider: balance(provider.addr),
            buyer: balance(buyer.addr),
            fees: escrow.owed(feeRecipient.addr),
            escrow: balance(address(escrow))
        });
    }

    /// @dev What has changed since `before`, in both.
    function assertSameChange(Totals memory before, Totals memory middle) internal view {
        Totals memory end = totals();
        vm.assertEq(end.provider - middle.provider, middle.provider - before.provider, "provider");
        vm.assertEq(end.buyer - middle.buyer, middle.buyer - before.buyer, "buyer");
        vm.assertEq(end.fees - middle.fees, middle.fees - before.fees, "fees");
        vm.assertEq(middle.escrow - end.escrow, before.escrow - middle.escrow, "escrow");
    }
}
