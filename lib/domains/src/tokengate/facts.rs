//! What has to be known to evaluate a gate, and what is known of it. Each question is about one wallet, or about the account, so
//! that many gates and many members share what is read.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, U256};
use nepto_proto::gate::values::Days;
use nepto_proto::gate::{Chain, Clause, Contract, Decimals, Gate, UnknownReason};
use nepto_proto::ids::RoleId;

/// What has to be known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// What a wallet holds of a contract: base units of an ERC-20, the number of tokens of an ERC-721.
    Amount {
        /// The contract.
        contract: Contract,
        /// The wallet.
        wallet: Address,
    },
    /// Which tokens of an ERC-721 a wallet holds.
    Tokens {
        /// The contract.
        contract: Contract,
        /// The wallet.
        wallet: Address,
    },
    /// How many of one id of an ERC-1155 a wallet holds.
    AmountOf {
        /// The contract.
        contract: Contract,
        /// The id.
        id: U256,
        /// The wallet.
        wallet: Address,
    },
    /// Which tokens of a collection a wallet holds, and what is said about them.
    Described {
        /// The contract.
        contract: Contract,
        /// The wallet.
        wallet: Address,
    },
    /// The least that a wallet had staked in the last so many days, in base units; without days, what it has.
    Staked {
        /// The staking contract.
        contract: Contract,
        /// Days before the block that the answer is of.
        days: Option<Days>,
        /// The wallet.
        wallet: Address,
    },
    /// When a wallet sent its first transaction.
    FirstUsed {
        /// The chain.
        chain: Chain,
        /// The wallet.
        wallet: Address,
    },
    /// When the account was made.
    AccountMade,
    /// Whether a wallet is on the allowlist with this root.
    Listed {
        /// The root of its Merkle tree.
        root: B256,
        /// The wallet.
        wallet: Address,
    },
    /// Whether the account has a role.
    HasRole {
        /// The role.
        role: RoleId,
    },
    /// What a view function of a contract answers.
    Call {
        /// The contract.
        contract: Contract,
        /// What is sent to it.
        data: Bytes,
    },
}

/// What is known of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Question::Amount`], [`Question::AmountOf`] and [`Question::Staked`].
    Amount(U256),
    /// To [`Question::Tokens`]: each id once.
    Tokens(BTreeSet<U256>),
    /// To [`Question::Described`].
    Described(Vec<DescribedToken>),
    /// To [`Question::FirstUsed`] and [`Question::AccountMade`]: milliseconds since 1970, or never.
    Since(Option<i64>),
    /// To [`Question::Listed`] and [`Question::HasRole`].
    Is(bool),
    /// To [`Question::Call`]: one word.
    Word(B256),
    /// To [`Question::Call`]: the contract takes no such call. That is an answer, and one that no comparison holds of; nodes
    /// that can't be asked are unknown instead.
    Reverted,
}

/// A token of a collection, with what is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedToken {
    /// How many of it: one of an ERC-721.
    pub amount: U256,
    /// Names and values of its traits, as far as they are known.
    pub traits: Vec<(String, String)>,
    /// Whether these are all.
    pub are_all: bool,
}

/// How settled a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// So many blocks stand on it; it may still be orphaned.
    Confirmations(u64),
    /// It stays.
    Final,
}

/// The block of a chain at the end of which something was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Its number.
    pub block: u64,
    /// When it was made, by the block itself: milliseconds since 1970.
    pub time_ms: i64,
    /// How settled it is.
    pub depth: Depth,
}

/// What is known at one moment. Everything of a chain is told at the end of the same block: else somebody who moves a token from
/// one wallet to another, or exchanges one for another, could be seen with both, or with neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The block of each chain.
    pub blocks: BTreeMap<Chain, At>,
    /// The answers, or why there is none. What has no entry was not asked.
    pub answers: BTreeMap<Question, Result<Answer, UnknownReason>>,
}

impl Question {
    /// The chain that it is about; none if it is about what this server knows by itself, now and for certain.
    pub fn chain(&self) -> Option<Chain> {
        match self {
            Self::Amount { contract, .. }
            | Self::Tokens { contract, .. }
            | Self::AmountOf { contract, .. }
            | Self::Described { contract, .. }
            | Self::Staked { contract, .. }
            | Self::Call { contract, .. } => Some(contract.chain),
            Self::FirstUsed { chain, .. } => Some(*chain),
            Self::AccountMade | Self::Listed { .. } | Self::HasRole { .. } => None,
        }
    }
}

/// A question that a clause asks, with what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The question.
    pub question: Question,
    /// The wallet; none if it is about the account, or if all wallets have the same answer.
    pub wallet: Option<Address>,
    /// Of a sum: which token, and its decimals.
    pub token: Option<(Contract, Option<Decimals>)>,
}

/// What a clause asks about somebody with these wallets.
pub fn asked_by(clause: &Clause, wallets: &BTreeSet<Address>) -> Vec<Asked> {
    let of_each = |question: &dyn Fn(Address) -> Question| -> Vec<Asked> {
        wallets.iter().map(|&wallet| Asked { question: question(wallet), wallet: Some(wallet), token: None }).collect()
    };
    let of_account = |question| vec![Asked { question, wallet: None, token: None }];
    match clause {
        Clause::Erc20(clause) => of_each(&|wallet| Question::Amount { contract: clause.contract(), wallet }),
        Clause::Erc20Sum(sum) => {
            let of_token = |token: &nepto_proto::gate::clause::Token| {
                let contract = token.contract();
                let token = Some((contract, token.decimals));
                wallets.iter().map(move |&wallet| {
                    let question = Question::Amount { contract, wallet };
                    Asked { question, wallet: Some(wallet), token }
                })
            };
            sum.tokens.iter().flat_map(of_token).collect()
        }
        Clause::Erc721(clause) => {
            let contract = clause.contract();
            match clause.ids {
                None => of_each(&|wallet| Question::Amount { contract, wallet }),
                Some(_) => of_each(&|wallet| Question::Tokens { contract, wallet }),
            }
        }
        Clause::Erc1155(clause) => {
            of_each(&|wallet| Question::AmountOf { contract: clause.contract(), id: clause.id, wallet })
        }
        Clause::Trait(clause) => of_each(&|wallet| Question::Described { contract: clause.contract(), wallet }),
        Clause::Staked(clause) => {
            of_each(&|wallet| Question::Staked { contract: clause.contract(), days: clause.days, wallet })
        }
        Clause::AccountAge(_) => of_account(Question::AccountMade),
        Clause::WalletAge(clause) => of_each(&|wallet| Question::FirstUsed { chain: clause.chain, wallet }),
        Clause::Allowlist(clause) => of_each(&|wallet| Question::Listed { root: clause.root, wallet }),
        Clause::Role(clause) => of_account(Question::HasRole { role: clause.role }),
        Clause::View(view) => {
            let call = |wallet| {
                // a clause that was not checked has no call; an empty one is never answered
                let data = view.call_data(wallet).unwrap_or_default();
                Question::Call { contract: view.contract(), data }
            };
            if view.names_the_wallet() { of_each(&call) } else { of_account(call(Address::ZERO)) }
        }
    }
}

/// What has to be read to evaluate a gate of somebody with these wallets: at most a question for each clause, contract and
/// wallet.
pub fn questions(gate: &Gate, wallets: &BTreeSet<Address>) -> BTreeSet<Question> {
    let mut questions = BTreeSet::new();
    gate.each_clause(|clause, _| questions.extend(asked_by(clause, wallets).into_iter().map(|asked| asked.question)));
    questions
}
