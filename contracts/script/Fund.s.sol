// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {NeptoBadge} from "../src/NeptoBadge.sol";
import {NeptoPass} from "../src/NeptoPass.sol";
import {NeptoToken} from "../src/NeptoToken.sol";
import {Staking} from "../src/Staking.sol";

/// @dev The cheatcodes of forge scripts that are used here.
interface Vm {
    function envAddress(string calldata name) external view returns (address);
    function envAddress(string calldata name, string calldata separator) external view returns (address[] memory);
    function startBroadcast(address sender) external;
    function stopBroadcast() external;
}

/// @notice Gives people on a chain for development something to show: ether, a thousand tokens, a tenth of them staked, a
/// pass and a badge. Who has a pass is left alone.
/// @dev forge script script/Fund.s.sol --rpc-url … --broadcast --unlocked --slow, on an anvil that signs for them
contract Fund {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant BADGE = 1;

    function run() external {
        address owner = vm.envAddress("NEPTO_OWNER");
        NeptoToken token = NeptoToken(vm.envAddress("NEPTO_TOKEN"));
        Staking staking = Staking(vm.envAddress("NEPTO_STAKING"));
        NeptoPass pass = NeptoPass(vm.envAddress("NEPTO_PASS"));
        NeptoBadge badge = NeptoBadge(vm.envAddress("NEPTO_BADGE"));
        address[] memory people = vm.envAddress("NEPTO_PEOPLE", ",");

        for (uint256 i = 0; i < people.length; ++i) {
            address person = people[i];
            if (pass.balanceOf(person) > 0) continue;
            vm.startBroadcast(owner);
            payable(person).transfer(10 ether);
            token.transfer(person, 1_000e18);
            badge.mint(person, BADGE, 1);
            vm.stopBroadcast();
            vm.startBroadcast(person);
            token.approve(address(staking), 100e18);
            staking.stake(100e18);
            vm.stopBroadcast();
            // last, so that who has one has everything
            vm.startBroadcast(owner);
            pass.mint(person);
            vm.stopBroadcast();
        }
    }
}
