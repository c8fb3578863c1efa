// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {IERC721Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {NeptoBadge} from "../src/NeptoBadge.sol";
import {NeptoPass} from "../src/NeptoPass.sol";
import {NeptoToken} from "../src/NeptoToken.sol";
import {Base} from "./Base.sol";

contract TokensTest is Base {
    address private alice = address(0xA11CE);

    function test_a_permit_is_taken_once_and_from_its_signer() public {
        NeptoToken token = new NeptoToken("Nepto", "NEP", 1e24, address(this));
        address owner = vm.addr(7);
        bytes32 typehash =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 digest = keccak256(
            abi.encodePacked(
                "\x19\x01",
                token.DOMAIN_SEPARATOR(),
                keccak256(abi.encode(typehash, owner, alice, 5, 0, block.timestamp))
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(7, digest);
        token.permit(owner, alice, 5, block.timestamp, v, r, s);
        vm.assertEq(token.allowance(owner, alice), 5);
        vm.expectPartialRevert(bytes4(keccak256("ERC2612InvalidSigner(address,address)")));
        token.permit(owner, alice, 5, block.timestamp, v, r, s);
    }

    function test_passes_count_from_one_and_end() public {
        NeptoPass pass = new NeptoPass("Pass", "PASS", "https://example.org/", 2, address(this));
        vm.assertEq(pass.mint(alice), 1);
        vm.assertEq(pass.tokenURI(1), "https://example.org/1");
        vm.assertEq(pass.mint(alice), 2);
        vm.expectRevert(abi.encodeWithSelector(NeptoPass.SoldOut.selector, 2));
        pass.mint(alice);
        vm.prank(alice);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, alice));
        pass.mint(alice);
        // a contract that can't hold one gets none
        NeptoPass other = new NeptoPass("Pass", "PASS", "", 2, address(this));
        vm.expectRevert(abi.encodeWithSelector(IERC721Errors.ERC721InvalidReceiver.selector, address(pass)));
        other.mint(address(pass));
    }

    function test_badges_are_given_and_burned() public {
        NeptoBadge badge = new NeptoBadge("https://example.org/{id}", address(this));
        uint256[] memory ids = new uint256[](2);
        (ids[0], ids[1]) = (7, 9);
        badge.mintBatch(alice, ids, same(2, 3));
        vm.assertEq(badge.totalSupply(9), 3);
        vm.prank(alice);
        badge.burn(alice, 7, 1);
        vm.assertEq(badge.balanceOf(alice, 7), 2);
        vm.expectRevert(abi.encodeWithSignature("ERC1155MissingApprovalForAll(address,address)", address(this), alice));
        badge.burn(alice, 7, 1);
    }
}
