// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// @dev A wallet of one owner, who can hand it on.
contract OwnedWallet is IERC1271 {
    address public owner;

    constructor(address first) {
        owner = first;
    }

    function handOver(address next) external {
        require(msg.sender == owner, "not yours");
        owner = next;
    }

    function isValidSignature(bytes32 hash, bytes memory signature) external view returns (bytes4) {
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(hash, signature);
        bool own = failure == ECDSA.RecoverError.NoError && signer == owner;
        return own ? IERC1271.isValidSignature.selector : bytes4(0xffffffff);
    }
}

/// @dev Makes wallets at addresses that are known before.
contract WalletFactory {
    function make(address owner, bytes32 salt) external returns (OwnedWallet) {
        return new OwnedWallet{salt: salt}(owner);
    }

    function addressOf(address owner, bytes32 salt) external view returns (address) {
        bytes32 code = keccak256(abi.encodePacked(type(OwnedWallet).creationCode, abi.encode(owner)));
        return address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, code)))));
    }
}

/// @dev Answers as no wallet should.
contract RogueWallet {
    enum Manner {
        Reverts,
        RevertsWithYes,
        BurnsAllGas,
        NeverEnds,
        AnswersNothing,
        AnswersTooLittle,
        AnswersGarbage,
        AnswersYesAndMore,
        AnswersAMegabyte,
        RevertsWithAMegabyte,
        Writes
    }

    Manner private immutable MANNER;
    uint256 public written;

    constructor(Manner manner) {
        MANNER = manner;
    }

    fallback() external {
        Manner manner = MANNER;
        bytes32 yes = IERC1271.isValidSignature.selector;
        if (manner == Manner.NeverEnds) {
            for (uint256 i = 0;; ++i) {}
        }
        if (manner == Manner.Writes) written = 1;
        bool reverts =
            manner == Manner.Reverts || manner == Manner.RevertsWithYes || manner == Manner.RevertsWithAMegabyte;
        uint256 size = 0x20;
        if (manner == Manner.AnswersNothing || manner == Manner.Reverts) size = 0;
        if (manner == Manner.AnswersTooLittle) size = 4;
        if (manner == Manner.AnswersAMegabyte || manner == Manner.RevertsWithAMegabyte) size = 1 << 20;
        if (manner == Manner.AnswersGarbage || manner == Manner.AnswersAMegabyte) yes = bytes32(uint256(1));
        if (manner == Manner.AnswersYesAndMore) yes |= bytes32(uint256(1));
        bool burns = manner == Manner.BurnsAllGas;
        assembly ("memory-safe") {
            if burns { invalid() }
            mstore(0x00, yes)
            if reverts { revert(0x00, size) }
            return(0x00, size)
        }
    }
}

/// @dev Makes no wallet.
contract RogueFactory {
    enum Manner {
        Reverts,
        BurnsAllGas,
        DoesNothing
    }

    Manner private immutable MANNER;

    constructor(Manner manner) {
        MANNER = manner;
    }

    fallback() external {
        Manner manner = MANNER;
        if (manner == Manner.Reverts) revert("no");
        bool burns = manner == Manner.BurnsAllGas;
        assembly ("memory-safe") {
            if burns { invalid() }
        }
    }
}
