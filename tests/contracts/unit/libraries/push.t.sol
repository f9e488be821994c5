// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {Push} from "../../../../contracts/libraries/Push.sol";
import {TestDollar} from "../../../../contracts/test/TestDollar.sol";
import {vm} from "../../support/Vm.sol";

contract PushCaller {
    function native(address to, uint256 amount, uint256 gasLimit) external returns (bool sent, uint256 cost) {
        uint256 left = gasleft();
        sent = Push.native(to, amount, gasLimit);
        cost = left - gasleft();
    }

    function token(address erc20, address to, uint256 amount, uint256 gasLimit)
        external
        returns (bool sent, uint256 cost)
    {
        uint256 left = gasleft();
        sent = Push.token(IERC20(erc20), to, amount, gasLimit);
        cost = left - gasleft();
    }

    /// @dev As `token`, to an address with dirt in its upper bits; `kept` if memory is as before.
    function tokenToDirtyAddress(address erc20, address to, uint256 amount, uint256 gasLimit)
        external
        returns (bool kept)
    {
        uint256[2] memory words = [type(uint256).max, 1];
        uint256 free;
        assembly ("memory-safe") {
            free := mload(0x40)
            to := or(to, shl(160, not(0)))
        }
        Push.token(IERC20(erc20), to, amount, gasLimit);
        uint256[1] memory fresh = [gasLimit];
        assembly ("memory-safe") {
            kept := iszero(or(sub(fresh, free), mload(0x60)))
        }
        return kept && words[0] == type(uint256).max && words[1] == 1;
    }

    function requiredNative(address to, uint256 gasLimit) external returns (bool sent) {
        Push.requireGas(gasLimit);
        return Push.native(to, 1, gasLimit);
    }
}

contract PushTest {
    uint256 private constant AMOUNT = 12_345;
    uint256 private constant GAS = 300_000;
    /// @dev What a call costs at most beside the gas that it passes on.
    uint256 private constant OVERHEAD = 40_000;
    uint256 private constant STIPEND = 2_300;
    /// @dev What the opcode GAS itself takes.
    uint256 private constant LOOK = 2;

    /// @dev Runtime code, by what it does.
    bytes private constant STORES_GAS = hex"5a5f55";
    bytes private constant STORES_GAS_ANSWERS_ONE = hex"5a5f5560015f5260205ff3";
    /// @dev 1 if it is called with 68 bytes: a selector and two words.
    bytes private constant ANSWERS_ONE_TO_68_BYTES = hex"366044145f5260205ff3";
    bytes private constant ANSWERS_NOTHING = hex"00";
    bytes private constant REVERTS = hex"5f5ffd";
    bytes private constant BURNS = hex"fe";
    /// @dev 350,000 bytes: to copy them costs 290,000 gas once more.
    bytes private constant ANSWERS_MUCH = hex"620557305ff3";
    bytes private constant REVERTS_WITH_MUCH = hex"620557305ffd";

    /// @dev In the call's first word in memory it leaves a 1 behind an answer of 4 to 31 zero bytes.
    address private constant ONE_IN_PLACE = address(1 << 32);

    PushCaller private _push = new PushCaller();
    address private _other = address(uint160(uint256(keccak256("other"))));

    function setUp() external {
        vm.deal(address(_push), 10 * AMOUNT);
    }

    /* COIN */

    modifier whenCoinIsSent() {
        _;
    }

    function test_GivenTheRecipientIsAnAccountWithoutCode() external whenCoinIsSent {
        (bool sent, uint256 cost) = _push.native(_other, AMOUNT, GAS);

        // it should move the coin
        _assertSent(sent);
        vm.assertLe(cost, OVERHEAD);
    }

    function test_GivenTheRecipientAccepts() external whenCoinIsSent {
        vm.etch(_other, STORES_GAS);
        (bool sent,) = _push.native(_other, AMOUNT, GAS);

        // it should move the coin
        _assertSent(sent);

        // it should pass on exactly the gas and the stipend
        vm.assertEq(_gasSeen(_other), GAS + STIPEND - LOOK);
    }

    function test_GivenTheRecipientReverts() external whenCoinIsSent {
        vm.etch(_other, REVERTS);
        (bool sent,) = _push.native(_other, AMOUNT, GAS);

        // it should report it and move nothing
        _assertNotSent(sent);
    }

    function test_GivenTheRecipientBurnsAllItsGas() external whenCoinIsSent {
        vm.etch(_other, BURNS);
        (bool sent, uint256 cost) = _push.native(_other, AMOUNT, GAS);

        // it should report it and move nothing
        _assertNotSent(sent);

        // it should cost no more than the gas passed on and the overhead
        vm.assertGe(cost, GAS);
        vm.assertLe(cost, GAS + OVERHEAD);
    }

    function test_GivenTheRecipientReturnsVeryMuch() external whenCoinIsSent {
        vm.etch(_other, ANSWERS_MUCH);
        (bool sent, uint256 cost) = _push.native(_other, AMOUNT, GAS);

        // it should move the coin
        _assertSent(sent);

        // it should cost no more than the gas passed on and the overhead
        vm.assertLe(cost, GAS + OVERHEAD);
    }

    function test_GivenTheRecipientRevertsWithVeryMuch() external whenCoinIsSent {
        vm.etch(_other, REVERTS_WITH_MUCH);
        (bool sent, uint256 cost) = _push.native(_other, AMOUNT, GAS);

        // it should report it and move nothing
        _assertNotSent(sent);

        // it should cost no more than the gas passed on and the overhead
        vm.assertLe(cost, GAS + OVERHEAD);
    }

    function test_GivenThereIsNotSoMuchCoin() external whenCoinIsSent {
        (bool sent,) = _push.native(_other, 10 * AMOUNT + 1, GAS);

        // it should report it and move nothing
        _assertNotSent(sent);
    }

    /* TOKENS */

    modifier whenTokensAreSent() {
        _;
    }

    function test_GivenATokenAsTheStandardSays() external whenTokensAreSent {
        TestDollar dollar = new TestDollar();
        dollar.mint(address(_push), AMOUNT);
        (bool sent,) = _push.token(address(dollar), _other, AMOUNT - 1, GAS);

        // it should move the tokens
        vm.assertTrue(sent);
        vm.assertEq(dollar.balanceOf(_other), AMOUNT - 1);
        vm.assertEq(dollar.balanceOf(address(_push)), 1);
    }

    function test_GivenTheTokenAnswersOneWordOf1() external whenTokensAreSent {
        address erc20 = _tokenOf(STORES_GAS_ANSWERS_ONE);
        vm.expectCall(erc20, abi.encodeCall(IERC20.transfer, (_other, AMOUNT)), 1);
        (bool sent,) = _push.token(erc20, _other, AMOUNT, GAS);

        // it should report success
        vm.assertTrue(sent);

        // it should ask for exactly this transfer
        vm.assertEq(_other.balance, 0);
        vm.assertTrue(_succeeds(ANSWERS_ONE_TO_68_BYTES));

        // it should pass on exactly the gas
        vm.assertEq(_gasSeen(erc20), GAS - LOOK);
    }

    function test_GivenTheTokenAnswersNothing() external whenTokensAreSent {
        // it should report success
        vm.assertTrue(_succeeds(ANSWERS_NOTHING));
    }

    function test_GivenTheTokenHasNoCode() external whenTokensAreSent {
        (bool sent,) = _push.token(_other, _other, AMOUNT, GAS);

        // it should report failure
        vm.assertFalse(sent);
    }

    function test_GivenTheTokenAnswersTwoWordsAndTheFirstIs1() external whenTokensAreSent {
        // it should report success
        vm.assertTrue(_succeeds(_answer(1, 0x40)));
        vm.assertTrue(_succeeds(_answer(1, 0x21)));
    }

    function test_GivenTheTokenAnswersAnythingElse() external whenTokensAreSent {
        // it should report failure
        vm.assertFalse(_succeeds(_answer(0, 0x20)));
        vm.assertFalse(_succeeds(_answer(2, 0x20)));
        vm.assertFalse(_succeeds(_answer(type(uint256).max, 0x20)));
        vm.assertFalse(_succeeds(_answer(0, 0x40)));
        vm.assertFalse(_succeeds(_answer(1 << 255, 0x40)));
        vm.assertFalse(_succeeds(_answer(2, 0x40)));
    }

    function test_GivenTheTokenAnswersLessThanAWord() external whenTokensAreSent {
        // it should report failure whatever is in memory
        for (uint256 size = 1; size < 0x20; ++size) {
            (bool sent,) = _push.token(_tokenOf(_answer(0, size)), ONE_IN_PLACE, AMOUNT, GAS);
            vm.assertFalse(sent);
        }
    }

    function test_GivenMemoryIsInUse() external whenTokensAreSent {
        address erc20 = _tokenOf(ANSWERS_NOTHING);
        vm.expectCall(erc20, abi.encodeCall(IERC20.transfer, (_other, AMOUNT)), 1);

        // it should leave memory as it was
        // it should ask for the transfer to the clean address
        vm.assertTrue(_push.tokenToDirtyAddress(erc20, _other, AMOUNT, GAS));
    }

    function test_GivenTheTokenReverts() external whenTokensAreSent {
        bytes memory withOne = _answer(1, 0x20);
        withOne[withOne.length - 1] = 0xfd;

        // it should report failure whatever it says
        vm.assertFalse(_succeeds(REVERTS));
        vm.assertFalse(_succeeds(BURNS));
        vm.assertFalse(_succeeds(withOne));
    }

    function test_GivenTheTokenAnswersVeryMuch() external whenTokensAreSent {
        (bool sent, uint256 cost) = _push.token(_tokenOf(ANSWERS_MUCH), _other, AMOUNT, GAS);

        // it should cost the gas passed on and the overhead at most
        vm.assertFalse(sent);
        vm.assertLe(cost, GAS + OVERHEAD);
    }

    function test_GivenTheTokenRevertsWithVeryMuch() external whenTokensAreSent {
        (bool sent, uint256 cost) = _push.token(_tokenOf(REVERTS_WITH_MUCH), _other, AMOUNT, GAS);

        // it should cost the gas passed on and the overhead at most
        vm.assertFalse(sent);
        vm.assertLe(cost, GAS + OVERHEAD);
    }

    /* GAS */

    modifier whenGasIsRequired() {
        vm.etch(_other, STORES_GAS);
        _;
    }

    function test_RevertGiven_OneUnitOfGasIsMissing() external whenGasIsRequired {
        uint256[3] memory limits = [uint256(0), 50_000, GAS];
        for (uint256 i; i < limits.length; ++i) {
            uint256 needed = (limits[i] * 64) / 63 + OVERHEAD;
            uint256 enough = _enoughFor(limits[i]);

            // it should revert
            (bool ok, bytes memory result) = _requiredNative(enough - 1, _other, limits[i]);
            vm.assertFalse(ok);
            vm.assertEq(result, abi.encodeWithSelector(Push.Push_NotEnoughGas.selector, needed - 1, needed));
        }
    }

    function test_GivenExactlyEnoughGasIsLeft() external whenGasIsRequired {
        address fresh = address(uint160(_other) + 1);
        vm.etch(fresh, STORES_GAS);
        (bool ok, bytes memory result) = _requiredNative(_enoughFor(GAS), fresh, GAS);

        // it should leave a call all that it is to have
        vm.assertTrue(ok && abi.decode(result, (bool)));
        vm.assertEq(_gasSeen(fresh), GAS + STIPEND - LOOK);
    }

    /// @dev The least gas with which a push of `limit` is not refused.
    function _enoughFor(uint256 limit) private returns (uint256 enough) {
        uint256 tooLittle;
        enough = 1_000_000;
        while (enough - tooLittle > 1) {
            uint256 middle = (tooLittle + enough) / 2;
            (bool ok,) = _requiredNative(middle, _other, limit);
            (tooLittle, enough) = ok ? (tooLittle, middle) : (middle, enough);
        }
    }

    function _requiredNative(uint256 gas_, address to, uint256 limit) private returns (bool, bytes memory) {
        return address(_push).call{gas: gas_}(abi.encodeCall(PushCaller.requiredNative, (to, limit)));
    }

    /* HELPERS */

    /// @dev Runtime code that returns the first `size` bytes of `word`.
    function _answer(uint256 word, uint256 size) private pure returns (bytes memory) {
        return abi.encodePacked(hex"7f", word, hex"5f5260", uint8(size), hex"5ff3");
    }

    function _tokenOf(bytes memory code) private returns (address erc20) {
        erc20 = address(uint160(uint256(keccak256(code))));
        vm.etch(erc20, code);
    }

    function _succeeds(bytes memory code) private returns (bool sent) {
        (sent,) = _push.token(_tokenOf(code), _other, AMOUNT, GAS);
    }

    function _gasSeen(address who) private view returns (uint256) {
        return uint256(vm.load(who, 0));
    }

    function _assertSent(bool sent) private view {
        vm.assertTrue(sent);
        vm.assertEq(_other.balance, AMOUNT);
        vm.assertEq(address(_push).balance, 9 * AMOUNT);
    }

    function _assertNotSent(bool sent) private view {
        vm.assertFalse(sent);
        vm.assertEq(_other.balance, 0);
        vm.assertEq(address(_push).balance, 10 * AMOUNT);
    }
}
