// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {SignatureCheck} from "../src/SignatureCheck.sol";
import {Base} from "./Base.sol";
import {OwnedWallet, RogueFactory, RogueWallet, WalletFactory} from "./Wallets.sol";

contract SignatureCheckTest is Base {
    uint256 private constant NO = 0;
    uint256 private constant YES = 1;
    uint256 private constant NO_CODE = 2;
    uint256 private constant NOT_MADE = 3;
    /// @dev What our servers give to a question.
    uint256 private constant GAS = 15_000_000;

    uint256 private constant KEY = 0xa11ce;
    bytes32 private constant HASH = keccak256("a text");
    bytes private constant NOTHING = "";

    WalletFactory private immutable FACTORY = new WalletFactory();

    function sign(uint256 key) private pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, HASH);
        return abi.encodePacked(r, s, v);
    }

    /// @dev What would be the code is the answer.
    function ask(address wallet, bytes memory signature, address factory, bytes memory creation)
        external
        returns (uint256)
    {
        bytes memory code = address(new SignatureCheck(wallet, HASH, signature, factory, creation)).code;
        vm.assertEq(code.length, 32);
        return abi.decode(code, (uint256));
    }

    function answer(address wallet, bytes memory signature, address factory, bytes memory creation)
        private
        returns (uint256)
    {
        return this.ask{gas: GAS}(wallet, signature, factory, creation);
    }

    function answer(address wallet, bytes memory signature) private returns (uint256) {
        return answer(wallet, signature, address(0), NOTHING);
    }

    function test_a_wallet_says_yes_to_its_owner_alone() public {
        OwnedWallet wallet = new OwnedWallet(vm.addr(KEY));
        vm.assertEq(answer(address(wallet), sign(KEY)), YES);
        vm.assertEq(answer(address(wallet), sign(KEY + 1)), NO);
        vm.assertEq(answer(address(wallet), NOTHING), NO);
        vm.prank(vm.addr(KEY));
        wallet.handOver(vm.addr(KEY + 1));
        vm.assertEq(answer(address(wallet), sign(KEY)), NO);
        vm.assertEq(answer(address(wallet), sign(KEY + 1)), YES);
    }

    function test_who_has_no_code_has_no_word() public {
        vm.assertEq(answer(vm.addr(KEY), sign(KEY)), NO_CODE);
        // a precompile answers with its input, but has no code either
        vm.assertEq(answer(address(4), sign(KEY)), NO_CODE);
    }

    function test_a_wallet_that_does_not_exist_yet_is_made_for_the_question() public {
        address wallet = FACTORY.addressOf(vm.addr(KEY), "salt");
        bytes memory creation = abi.encodeCall(FACTORY.make, (vm.addr(KEY), "salt"));
        vm.assertEq(answer(wallet, sign(KEY)), NO_CODE);
        // an eth_call keeps nothing; here it would stay
        uint256 before = vm.snapshotState();
        vm.assertEq(answer(wallet, sign(KEY), address(FACTORY), creation), YES);
        vm.revertToState(before);
        vm.assertEq(answer(wallet, sign(KEY + 1), address(FACTORY), creation), NO);
        vm.revertToState(before);
        // another owner is another address
        bytes memory mine = abi.encodeCall(FACTORY.make, (vm.addr(KEY + 1), "salt"));
        vm.assertEq(answer(wallet, sign(KEY + 1), address(FACTORY), mine), NOT_MADE);
    }

    function test_a_wallet_that_exists_is_asked_as_it_is() public {
        OwnedWallet wallet = FACTORY.make(vm.addr(KEY), "salt");
        bytes memory creation = abi.encodeCall(FACTORY.make, (vm.addr(KEY), "salt"));
        // the call would fail now, and is not made
        vm.assertEq(answer(address(wallet), sign(KEY), address(FACTORY), creation), YES);
        vm.prank(vm.addr(KEY));
        wallet.handOver(vm.addr(KEY + 1));
        vm.assertEq(answer(address(wallet), sign(KEY), address(FACTORY), creation), NO);
        // nor is one that would put it into the hands of somebody else
        OpenWallet open = new OpenWallet(vm.addr(KEY));
        bytes memory seize = abi.encodeCall(open.seize, (vm.addr(KEY + 1)));
        vm.assertEq(answer(address(open), sign(KEY + 1), address(open), seize), NO);
    }

    function test_a_call_that_makes_no_wallet_is_no_word() public {
        address wallet = FACTORY.addressOf(vm.addr(KEY), "salt");
        for (uint8 manner = 0; manner <= uint8(type(RogueFactory.Manner).max); ++manner) {
            address factory = address(new RogueFactory(RogueFactory.Manner(manner)));
            vm.assertEq(answer(wallet, sign(KEY), factory, NOTHING), NOT_MADE);
        }
        vm.assertEq(answer(wallet, sign(KEY), vm.addr(7), NOTHING), NOT_MADE);
        vm.assertEq(answer(wallet, sign(KEY), address(FACTORY), hex"12345678"), NOT_MADE);
    }

    function test_whatever_a_wallet_does_the_answer_is_no() public {
        for (uint8 manner = 0; manner <= uint8(type(RogueWallet.Manner).max); ++manner) {
            RogueWallet wallet = new RogueWallet(RogueWallet.Manner(manner));
            vm.assertEq(answer(address(wallet), sign(KEY)), NO);
        }
    }

    function test_there_is_gas_left_for_the_answer_whoever_burns_it() public {
        SpendthriftFactory factory = new SpendthriftFactory();
        uint256 before = vm.snapshotState();
        address wallet = factory.make{gas: GAS}();
        vm.revertToState(before);
        vm.assertEq(wallet.code.length, 0);
        vm.assertEq(answer(wallet, sign(KEY), address(factory), abi.encodeCall(factory.make, ())), NO);
    }

    function testFuzz_only_the_owner_signs(bytes calldata signature, address owner) public {
        vm.assume(owner != address(0));
        OwnedWallet wallet = new OwnedWallet(owner);
        vm.assertEq(answer(address(wallet), signature), NO);
    }

    function testFuzz_no_factory_helps_a_stranger(address factory, bytes calldata creation) public {
        address wallet = FACTORY.addressOf(vm.addr(KEY), "salt");
        vm.assertTrue(answer(wallet, sign(KEY + 1), factory, creation) != YES);
    }
}

/// @dev Anybody can take it.
contract OpenWallet is OwnedWallet {
    constructor(address first) OwnedWallet(first) {}

    function seize(address by) external {
        owner = by;
    }
}

/// @dev Makes a wallet that burns all gas, and burns what is left itself.
contract SpendthriftFactory {
    function make() external returns (address wallet) {
        wallet = address(new RogueWallet{salt: "salt"}(RogueWallet.Manner.BurnsAllGas));
        while (gasleft() > 5_000) {}
    }
}
