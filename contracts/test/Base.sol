// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

/// @dev The cheatcodes of forge that these tests use (https://getfoundry.sh/reference/cheatcodes/overview).
interface Vm {
    function addr(uint256 key) external pure returns (address);
    function assertEq(uint256 left, uint256 right) external pure;
    function assertEq(uint256 left, uint256 right, string calldata why) external pure;
    function assertEq(address left, address right) external pure;
    function assertEq(string calldata left, string calldata right) external pure;
    function assertLe(uint256 left, uint256 right) external pure;
    function assertLe(uint256 left, uint256 right, string calldata why) external pure;
    function assertTrue(bool condition) external pure;
    function assume(bool condition) external pure;
    function cool(address target) external;
    function deal(address account, uint256 balance) external;
    function expectEmit() external;
    function expectPartialRevert(bytes4 selector) external;
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata expected) external;
    function prank(address sender) external;
    function revertToState(uint256 id) external returns (bool done);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function snapshotState() external returns (uint256 id);
    function snapshotValue(string calldata name, uint256 value) external;
    function warp(uint256 timestamp) external;
}

abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev `value` moved into `[low, high]`.
    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    /// @dev `count` different addresses that nobody has used.
    function people(uint256 count, uint256 seed) internal pure returns (address[] memory all) {
        all = new address[](count);
        for (uint256 i = 0; i < count; ++i) {
            all[i] = address(uint160(uint256(keccak256(abi.encode("person", seed, i)))));
        }
    }

    function same(uint256 count, uint256 amount) internal pure returns (uint256[] memory all) {
        all = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            all[i] = amount;
        }
    }
}
