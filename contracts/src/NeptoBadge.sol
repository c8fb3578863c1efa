// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";
import {ERC1155Supply} from "@openzeppelin/contracts/token/ERC1155/extensions/ERC1155Supply.sol";

/// @title Badges of many kinds
/// @notice ERC-1155: an id is a kind of badge, an amount how many somebody has. The owner gives them away.
contract NeptoBadge is ERC1155Supply, Ownable {
    /// @param uri_ Where descriptions are found, with `{id}` in it (ERC-1155, metadata)
    constructor(string memory uri_, address owner_) ERC1155(uri_) Ownable(owner_) {}

    /// @notice Gives badges of one kind away.
    function mint(address to, uint256 id, uint256 amount) external onlyOwner {
        _mint(to, id, amount, "");
    }

    /// @notice Gives badges of several kinds to one holder.
    function mintBatch(address to, uint256[] calldata ids, uint256[] calldata amounts) external onlyOwner {
        _mintBatch(to, ids, amounts, "");
    }

    /// @notice Takes badges of one's own, or of somebody who allowed it, out of the world.
    function burn(address from, uint256 id, uint256 amount) external {
        if (from != msg.sender && !isApprovedForAll(from, msg.sender)) {
            revert ERC1155MissingApprovalForAll(msg.sender, from);
        }
        _burn(from, id, amount);
    }

    /// @notice Sets where descriptions are found.
    function setURI(string calldata uri_) external onlyOwner {
        _setURI(uri_);
    }
}
