// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {MultiSender} from "../src/MultiSender.sol";
import {NeptoBadge} from "../src/NeptoBadge.sol";
import {NeptoPass} from "../src/NeptoPass.sol";
import {NeptoToken} from "../src/NeptoToken.sol";
import {Staking} from "../src/Staking.sol";

/// @dev The cheatcodes of forge scripts that are used here.
interface Vm {
    function envOr(string calldata name, address value) external view returns (address);
    function envOr(string calldata name, string calldata value) external view returns (string memory);
    function envOr(string calldata name, uint256 value) external view returns (uint256);
    function serializeAddress(string calldata object, string calldata key, address value)
        external
        returns (string memory json);
    function serializeUint(string calldata object, string calldata key, uint256 value)
        external
        returns (string memory json);
    function startBroadcast() external;
    function stopBroadcast() external;
    function toString(uint256 value) external pure returns (string memory);
    function writeJson(string calldata json, string calldata path) external;
}

/// @notice Deploys everything, and writes addresses and the first block to `deployments/<chain id>.json`.
/// @dev forge script script/Deploy.s.sol --rpc-url … --broadcast --private-key … (or --ledger, --keystore)
contract Deploy {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    string private constant FILE = "nepto";

    function run() external {
        string memory name = vm.envOr("NEPTO_TOKEN_NAME", string("Nepto"));
        string memory symbol = vm.envOr("NEPTO_TOKEN_SYMBOL", string("NEP"));
        uint256 supply = vm.envOr("NEPTO_TOKEN_SUPPLY", uint256(1_000_000_000e18));
        string memory descriptions = vm.envOr("NEPTO_DESCRIPTIONS", string("https://example.org/"));
        // who holds the supply, and may give passes and badges away
        address owner = vm.envOr("NEPTO_OWNER", msg.sender);
        uint256 startBlock = block.number;

        vm.startBroadcast();
        NeptoToken token = new NeptoToken(name, symbol, supply, owner);
        Staking staking = new Staking(token, token, vm.envOr("NEPTO_REWARDS_SECONDS", uint256(7 days)), owner);
        NeptoPass pass = new NeptoPass(
            string.concat(name, " Pass"), string.concat(symbol, "P"), string.concat(descriptions, "pass/"), 10_000, owner
        );
        NeptoBadge badge = new NeptoBadge(string.concat(descriptions, "badge/{id}"), owner);
        MultiSender multisender = new MultiSender();
        vm.stopBroadcast();

        vm.serializeUint(FILE, "chain_id", block.chainid);
        vm.serializeUint(FILE, "start_block", startBlock);
        vm.serializeAddress(FILE, "token", address(token));
        vm.serializeAddress(FILE, "staking", address(staking));
        vm.serializeAddress(FILE, "pass", address(pass));
        vm.serializeAddress(FILE, "badge", address(badge));
        string memory json = vm.serializeAddress(FILE, "multisender", address(multisender));
        vm.writeJson(json, string.concat("deployments/", vm.toString(block.chainid), ".json"));
    }
}
