// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Terms} from "../../../contracts/interfaces/IEscrow.sol";
import {HostileWallet} from "../../../contracts/test/HostileWallet.sol";
import {Account, EscrowTest} from "../support/EscrowTest.sol";
import {WalletTest} from "../support/WalletTest.sol";
import {Phases} from "./Phases.sol";

/// @title Who books with whom: keys, contract wallets of changing mood, and an account that is always refused
abstract contract Cast is Phases, WalletTest {
    HostileWallet internal otherWallet = new HostileWallet(owner.addr);
    Account internal denied = account("denied");
    Account internal heir = account("heir");

    address[] internal buyers;
    address[] internal providers;

    uint256 private _draws;

    function setUp() public virtual override(EscrowTest) {
        super.setUp();
        deny(denied.addr);
        buyers = [buyer.addr, otherBuyer.addr, address(wallet)];
        providers = [provider.addr, otherProvider.addr, address(wallet), address(otherWallet), denied.addr];
        accounts = [attester.addr, arbiter.addr, stranger.addr, feeRecipient.addr, heir.addr];
        accounts.push(buyer.addr);
        accounts.push(otherBuyer.addr);
        for (uint256 i; i < providers.length; ++i) {
            accounts.push(providers[i]);
        }
        endow(address(wallet));
        for (uint256 i; i < buyers.length; ++i) {
            wealth[buyers[i]] = balance(buyers[i]);
        }
    }

    /// @dev From now on, every payment to the account fails.
    function deny(address who) internal virtual;

    function refuses(address who) internal view override returns (bool) {
        if (who == address(wallet)) return isRefusing(wallet);
        if (who == address(otherWallet)) return isRefusing(otherWallet);
        return who == denied.addr;
    }

    function isRefusing(HostileWallet wallet_) private view returns (bool) {
        HostileWallet.Mood mood = wallet_.mood();
        return mood == HostileWallet.Mood.Reject || mood == HostileWallet.Mood.BurnGas
            || mood == HostileWallet.Mood.ReturnBomb;
    }

    /// @dev A wallet that pays must not refuse to.
    function calm(address who) internal {
        if (who == address(wallet)) wallet.setMood(HostileWallet.Mood.Accept);
    }

    /// @dev The key that signs for a buyer.
    function signerOf(address who) internal view returns (Account memory) {
        if (who == buyer.addr) return buyer;
        return who == otherBuyer.addr ? otherBuyer : owner;
    }

    /// @dev A number below `bound`, another one each time.
    function draw(uint256 seed, uint256 bound) internal returns (uint256) {
        return uint256(keccak256(abi.encode(seed, ++_draws))) % bound;
    }

    /// @dev New terms, between any two, now or soon, for a second or more.
    function draft(uint256 seed) internal returns (Terms memory t) {
        t = terms();
        t.buyer = buyers[draw(seed, buyers.length)];
        t.provider = providers[draw(seed, providers.length)];
        t.amount = uint88(1 + draw(seed, 10 ** (1 + draw(seed, 12))));
        t.fundBy = uint32(block.timestamp + 1 + draw(seed, 100));
        t.startsAt = uint32(t.fundBy + draw(seed, 100));
        t.endsAt = uint32(t.startsAt + 1 + draw(seed, 2 * DURATION));
    }
}
