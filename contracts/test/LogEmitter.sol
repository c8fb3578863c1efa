// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

/// @dev Emits what it is told to: any token that a test needs, also one that follows no standard.
contract LogEmitter {
    struct Entry {
        bytes32[] topics;
        bytes data;
    }

    error TooManyTopics(uint256 count);

    function emitLogs(Entry[] calldata entries) external {
        for (uint256 i = 0; i < entries.length; ++i) {
            _emit(entries[i].topics, entries[i].data);
        }
    }

    function _emit(bytes32[] memory topics, bytes memory data) private {
        uint256 count = topics.length;
        if (count > 4) revert TooManyTopics(count);
        assembly ("memory-safe") {
            let start := add(data, 0x20)
            let size := mload(data)
            // words beyond the last topic are read, and not used
            let a := mload(add(topics, 0x20))
            let b := mload(add(topics, 0x40))
            let c := mload(add(topics, 0x60))
            let d := mload(add(topics, 0x80))
            switch count
            case 0 { log0(start, size) }
            case 1 { log1(start, size, a) }
            case 2 { log2(start, size, a, b) }
            case 3 { log3(start, size, a, b, c) }
            default { log4(start, size, a, b, c, d) }
        }
    }
}
