// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";

/// @title Whether a wallet that is a contract calls a signature its own
/// @notice Nobody deploys this. Its creation code with its arguments is the data of an `eth_call` to nobody, and the word that
/// would become its code is the answer: a node does all of it at one block, and keeps nothing.
/// @dev A wallet that has code is asked as it is (ERC-1271), whatever the signature brings along: what anybody could make of
/// it in a rehearsal is not its owner's word. A wallet without code is made first, by the call that its signature brings along
/// (ERC-6492), and has no word if that fails or leaves nothing at its address. It never reverts: who burns all gas, or answers
/// with a megabyte, is left enough to be refused.
contract SignatureCheck {
    /// @dev The wallet did not say yes: it said something else, reverted, or had no end.
    uint256 private constant NO = 0;
    uint256 private constant YES = 1;
    /// @dev There is no contract at the address, and the signature brings along no call that makes one.
    uint256 private constant NO_CODE = 2;
    /// @dev The call that should make the wallet failed, or made another one.
    uint256 private constant NOT_MADE = 3;

    constructor(address wallet, bytes32 hash, bytes memory signature, address factory, bytes memory creation) {
        uint256 answer = _answer(wallet, hash, signature, factory, creation);
        assembly ("memory-safe") {
            mstore(0x00, answer)
            return(0x00, 0x20)
        }
    }

    function _answer(address wallet, bytes32 hash, bytes memory signature, address factory, bytes memory creation)
        private
        returns (uint256)
    {
        if (wallet.code.length == 0) {
            if (factory == address(0)) return NO_CODE;
            if (!_make(factory, creation) || wallet.code.length == 0) return NOT_MADE;
        }
        return _isOwn(wallet, abi.encodeCall(IERC1271.isValidSignature, (hash, signature))) ? YES : NO;
    }

    /// @dev With half of the gas. What the factory answers is not looked at.
    function _make(address factory, bytes memory creation) private returns (bool made) {
        assembly ("memory-safe") {
            made := call(shr(1, gas()), factory, 0, add(creation, 0x20), mload(creation), 0, 0)
        }
    }

    /// @dev With seven eighths of the gas. Of the answer the first word is looked at, which must be the four bytes of the
    /// standard and zeros.
    function _isOwn(address wallet, bytes memory question) private view returns (bool own) {
        bytes32 magic = IERC1271.isValidSignature.selector;
        assembly ("memory-safe") {
            let answered := staticcall(sub(gas(), shr(3, gas())), wallet, add(question, 0x20), mload(question), 0, 0x20)
            own := and(and(answered, gt(returndatasize(), 0x1f)), eq(mload(0x00), magic))
        }
    }
}
