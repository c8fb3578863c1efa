// SPDX-License-Identifier: AGPL-3.0-only
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

/// @title One message with a payment to each of many people
/// @notice Sends a token or ether to up to 400 recipients, and says once what for. Who opted out gets nothing, and the
/// sender keeps that part. Nothing ever stays here but ether that a recipient could not take, which is theirs to fetch.
/// @dev Ether in this contract is exactly the sum of all credits; of tokens it holds nothing between two calls.
contract MultiSender is ReentrancyGuard {
    using SafeERC20 for IERC20;

    /// @notice Recipients of one call: fresh ones take 12 million gas, and a transaction has 16.7 (EIP-7825).
    uint256 public constant RECIPIENTS_MAX = 400;
    /// @notice Bytes of a message. It is public for ever: private text belongs elsewhere, with its hash here.
    uint256 public constant MESSAGE_BYTES_MAX = 512;
    /// @notice Gas that a recipient of ether may use.
    uint256 public constant ETHER_GAS = 10_000;
    /// @dev What `token` is for ether.
    address private constant ETHER = address(0);
    /// @dev Words of the filter below.
    uint256 private constant FILTER_WORDS = 8;

    /// @notice How many messages were sent; the last batch's id.
    uint256 public batches;
    /// @notice Who wants nothing from here.
    mapping(address account => bool) public optedOut;
    /// @notice Ether that an account could not take.
    mapping(address account => uint256) public credits;
    /// @dev A Bloom filter of all that ever opted out, two bits each: reading it once for all recipients is cheaper than
    /// asking the mapping for each. A bit that is set wrongly costs a look into the mapping, and nothing else.
    uint256[FILTER_WORDS] private _filter;

    /// @notice A batch was sent. `token` is the zero address for ether.
    /// @param contentHash Of what the message stands for, chosen by the sender
    event MessageSent(
        uint256 indexed batchId, address indexed sender, address indexed token, bytes32 contentHash, string message
    );
    /// @notice A recipient got their part of a batch.
    event Paid(uint256 indexed batchId, address indexed recipient, uint256 amount);
    /// @notice A recipient opted out, or the token refused them; the sender kept their part.
    event Skipped(uint256 indexed batchId, address indexed recipient, uint256 amount);
    /// @notice A recipient could not take ether, and can fetch it.
    event Credited(uint256 indexed batchId, address indexed recipient, uint256 amount);
    /// @notice Ether was fetched.
    event CreditWithdrawn(address indexed account, address indexed to, uint256 amount);
    /// @notice Somebody opted out, or in again.
    event OptedOut(address indexed account, bool out);

    error NoRecipients();
    error TooManyRecipients(uint256 count, uint256 max);
    error LengthMismatch(uint256 recipients, uint256 amounts);
    error MessageTooLong(uint256 bytes_, uint256 max);
    /// @notice The amounts do not add up to what was announced.
    error WrongTotal(uint256 announced, uint256 sum);
    /// @notice The token keeps a part of what is sent.
    error FeeOnTransfer(uint256 sent, uint256 arrived);
    error NoCredit();
    error EtherRefused(address to);

    /// @notice Sends a token. The caller must have approved `total`.
    /// @param total The sum of all amounts, in base units
    /// @return batchId Of the message
    function sendToken(
        IERC20 token,
        address[] calldata recipients,
        uint256[] calldata amounts,
        uint256 total,
        bytes32 contentHash,
        string calldata message
    ) external nonReentrant returns (uint256 batchId) {
        _check(recipients, amounts, total, message);
        batchId = ++batches;
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), total);
        uint256 arrived = token.balanceOf(address(this)) - before;
        if (arrived != total) revert FeeOnTransfer(total, arrived);

        uint256 left = _payToken(token, recipients, amounts, batchId);
        if (left > 0) token.safeTransfer(msg.sender, left);
        emit MessageSent(batchId, msg.sender, address(token), contentHash, message);
    }

    /// @notice Sends ether: `msg.value` is the sum of all amounts.
    /// @return batchId Of the message
    function sendEther(
        address[] calldata recipients,
        uint256[] calldata amounts,
        bytes32 contentHash,
        string calldata message
    ) external payable nonReentrant returns (uint256 batchId) {
        _check(recipients, amounts, msg.value, message);
        batchId = ++batches;
        uint256[FILTER_WORDS] memory filter = _filter;
        uint256 left;
        for (uint256 i = 0; i < recipients.length; ++i) {
            (address recipient, uint256 amount) = (recipients[i], amounts[i]);
            if (_isOut(filter, recipient)) {
                left += amount;
                emit Skipped(batchId, recipient, amount);
            } else if (_give(recipient, amount, ETHER_GAS)) {
                _paid(batchId, recipient, amount);
            } else {
                credits[recipient] += amount;
                emit Credited(batchId, recipient, amount);
            }
        }
        if (left > 0 && !_give(msg.sender, left, gasleft())) {
            credits[msg.sender] += left;
            emit Credited(batchId, msg.sender, left);
        }
        emit MessageSent(batchId, msg.sender, ETHER, contentHash, message);
    }

    /// @notice Fetches the caller's credit, to any address that can take it.
    function withdrawCredit(address to) external nonReentrant {
        uint256 amount = credits[msg.sender];
        if (amount == 0) revert NoCredit();
        credits[msg.sender] = 0;
        if (!_give(to, amount, gasleft())) revert EtherRefused(to);
        emit CreditWithdrawn(msg.sender, to, amount);
    }

    /// @notice Says whether the caller wants nothing from here.
    function setOptedOut(bool out) external {
        optedOut[msg.sender] = out;
        if (out) {
            (uint256 word, uint256 bits) = _place(msg.sender);
            _filter[word] |= bits;
        }
        emit OptedOut(msg.sender, out);
    }

    /// @return left What nobody got
    function _payToken(IERC20 token, address[] calldata recipients, uint256[] calldata amounts, uint256 batchId)
        private
        returns (uint256 left)
    {
        uint256[FILTER_WORDS] memory filter = _filter;
        for (uint256 i = 0; i < recipients.length; ++i) {
            (address recipient, uint256 amount) = (recipients[i], amounts[i]);
            if (!_isOut(filter, recipient) && token.trySafeTransfer(recipient, amount)) {
                _paid(batchId, recipient, amount);
            } else {
                left += amount;
                emit Skipped(batchId, recipient, amount);
            }
        }
    }

    /// @dev A recipient got their part. On its own so that its price can be measured.
    function _paid(uint256 batchId, address recipient, uint256 amount) internal virtual {
        emit Paid(batchId, recipient, amount);
    }

    function _check(address[] calldata recipients, uint256[] calldata amounts, uint256 total, string calldata message)
        private
        pure
    {
        if (recipients.length == 0) revert NoRecipients();
        if (recipients.length > RECIPIENTS_MAX) revert TooManyRecipients(recipients.length, RECIPIENTS_MAX);
        if (recipients.length != amounts.length) revert LengthMismatch(recipients.length, amounts.length);
        if (bytes(message).length > MESSAGE_BYTES_MAX) revert MessageTooLong(bytes(message).length, MESSAGE_BYTES_MAX);
        uint256 sum;
        for (uint256 i = 0; i < amounts.length; ++i) {
            sum += amounts[i];
        }
        if (sum != total) revert WrongTotal(total, sum);
    }

    function _isOut(uint256[FILTER_WORDS] memory filter, address account) private view returns (bool) {
        (uint256 word, uint256 bits) = _place(account);
        return filter[word] & bits == bits && optedOut[account];
    }

    /// @dev The word of the filter that an account belongs to, and its two bits: the address is a hash already.
    function _place(address account) private pure returns (uint256 word, uint256 bits) {
        uint256 hash = uint160(account);
        word = hash % FILTER_WORDS;
        bits = (1 << ((hash >> 8) & 0xff)) | (1 << ((hash >> 16) & 0xff));
    }

    /// @dev Without looking at what the recipient answers: a long answer would be paid for here.
    function _give(address to, uint256 amount, uint256 gas_) private returns (bool done) {
        assembly ("memory-safe") {
            done := call(gas_, to, amount, 0, 0, 0, 0)
        }
    }
}
