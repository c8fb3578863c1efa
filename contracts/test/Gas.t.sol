// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {MultiSender} from "../src/MultiSender.sol";
import {NeptoToken} from "../src/NeptoToken.sol";
import {Base} from "./Base.sol";

/// @dev Without the event for each recipient, as the contracts that it is compared with.
contract QuietMultiSender is MultiSender {
    function _paid(uint256, address, uint256) internal override {}
}

/// @notice What a recipient costs. Figures are written to `snapshots/`; a change of them is a change in the repository.
contract GasTest is Base {
    uint256 private constant COUNT = 400;
    NeptoToken private token;

    receive() external payable {}

    function setUp() public {
        token = new NeptoToken("Nepto", "NEP", 1e30, address(this));
        vm.deal(address(this), 1e24);
    }

    /// @dev GasliteDrop takes 25,500 for a fresh recipient, the lowest published for a plain ERC-20
    /// (airdrop-gas-benchmarks, March 2024). Without the event we may take 3 % more.
    function test_a_fresh_recipient_of_a_token() public {
        uint256 quiet = _token(new QuietMultiSender(), 1, "token, fresh recipient, no event for each");
        vm.assertLe(quiet, 25_500 * 103 / 100);
        _token(new MultiSender(), 2, "token, fresh recipient");
    }

    function test_a_fresh_recipient_while_some_opted_out() public {
        MultiSender sender = new QuietMultiSender();
        address[] memory out = people(100, 99);
        for (uint256 i = 0; i < out.length; ++i) {
            vm.prank(out[i]);
            sender.setOptedOut(true);
        }
        _token(sender, 3, "token, fresh recipient, no event for each, 100 others opted out");
    }

    function test_a_fresh_recipient_of_ether() public {
        MultiSender sender = new MultiSender();
        uint256 before = gasleft();
        sender.sendEther{value: COUNT}(people(COUNT, 4), same(COUNT, 1), 0, "hello");
        uint256 each = (before - gasleft()) / COUNT;
        vm.snapshotValue("ether, fresh recipient", each);
    }

    function _token(MultiSender sender, uint256 seed, string memory name) private returns (uint256 each) {
        token.approve(address(sender), COUNT);
        address[] memory to = people(COUNT, seed);
        uint256[] memory amounts = same(COUNT, 1);
        vm.cool(address(token));
        vm.cool(address(sender));
        uint256 before = gasleft();
        sender.sendToken(token, to, amounts, COUNT, 0, "hello");
        uint256 all = before - gasleft();
        // what a transaction pays beside: itself, and its arguments, mostly with one byte in 32 (EIP-2028)
        uint256 data = 21_000 + COUNT * (20 * 16 + 12 * 4 + 16 + 31 * 4);
        vm.assertLe(all + data, 16_777_216);
        each = all / COUNT;
        vm.snapshotValue(name, each);
    }
}
