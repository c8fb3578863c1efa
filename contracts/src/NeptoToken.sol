// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title The token of a deployment: rewards are paid in it
/// @notice ERC-20 with permit (EIP-2612). The supply is fixed: all of it is minted at once, and nobody can mint more.
contract NeptoToken is ERC20, ERC20Permit {
    /// @param name_ For wallets, and the domain of permits
    /// @param symbol_ For wallets
    /// @param supply All there will ever be, in base units (18 decimals)
    /// @param holder Gets it
    constructor(string memory name_, string memory symbol_, uint256 supply, address holder)
        ERC20(name_, symbol_)
        ERC20Permit(name_)
    {
        _mint(holder, supply);
    }
}
