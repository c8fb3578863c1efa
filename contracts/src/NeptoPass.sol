// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

/// @title A pass to a community
/// @notice ERC-721 with a bounded supply. The owner gives passes away; ids count from 1.
contract NeptoPass is ERC721, Ownable {
    /// @notice Passes that can exist.
    uint256 public immutable maxSupply;
    /// @notice Passes that were given away; the last id.
    uint256 public totalSupply;
    string private _base;

    /// @notice Every pass was given away.
    error SoldOut(uint256 maxSupply);

    constructor(string memory name_, string memory symbol_, string memory base, uint256 maxSupply_, address owner_)
        ERC721(name_, symbol_)
        Ownable(owner_)
    {
        maxSupply = maxSupply_;
        _base = base;
    }

    /// @notice Gives the next pass away. The receiver must be able to hold it (ERC-721, safe transfer).
    /// @return id Of the new pass
    function mint(address to) external onlyOwner returns (uint256 id) {
        if (totalSupply == maxSupply) revert SoldOut(maxSupply);
        id = ++totalSupply;
        _safeMint(to, id);
    }

    /// @notice Sets where descriptions are found: `<base><id>`.
    function setBaseURI(string calldata base) external onlyOwner {
        _base = base;
    }

    function _baseURI() internal view override returns (string memory) {
        return _base;
    }
}
