//! Asking wallets that are contracts, through the nodes of their chains.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use nepto_proto::siwe;
use serde_json::Value;

use super::pin::{NOBODY, Pin, pin, silence};
use super::question::{Answer, Question};
use super::{BlockId, Claim, Moment, SignatureError, SignatureVerifier, Signer};
use crate::block::Finality;
use crate::rpc::{Addresses, Limits, Pool, RpcError};

/// An answer must be there in this time, with all that is tried again.
const WITHIN: Duration = Duration::from_secs(10);
/// One node must answer one question in this time.
const NODE_WITHIN: Duration = Duration::from_secs(4);
/// A header of a block with thousands of transactions, with their hashes, has some hundred kilobytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A chain that says different things about one block is asked again about another one.
const TRIES_MAX: u32 = 3;
const AGAIN_AFTER: Duration = Duration::from_millis(300);
/// JSON-RPC's "invalid params" and "invalid request": what a node says that does not know blocks by hash.
const NOT_UNDERSTOOD: [i64; 2] = [-32_602, -32_600];

/// The nodes of a chain.
pub struct Nodes {
    pool: Pool,
    finality: Finality,
}

impl Nodes {
    /// Nodes at these addresses, at most so many requests at once to each.
    pub fn new(addresses: impl Into<Addresses>, finality: Finality, concurrency_max: usize) -> Result<Self, RpcError> {
        let limits = Limits { timeout: NODE_WITHIN, answer_bytes_max: ANSWER_BYTES_MAX, concurrency_max };
        Ok(Self { pool: Pool::new(addresses, limits)?, finality })
    }
}

/// Checks signatures of keys by itself, and those of contracts with the nodes of the chains that it knows.
#[derive(Default)]
pub struct OnChain {
    chains: BTreeMap<u64, Nodes>,
}

/// Why there is no answer yet.
struct Unsettled(String);

impl OnChain {
    /// With the nodes of these chains, by EIP-155 id. A node that serves another chain is not asked.
    pub fn new(chains: impl IntoIterator<Item = (u64, Nodes)>) -> Self {
        let of_chain = |(id, nodes): (u64, Nodes)| (id, Nodes { pool: nodes.pool.of_chain(id), ..nodes });
        Self { chains: chains.into_iter().map(of_chain).collect() }
    }

    /// Whether contracts on a chain can be asked.
    pub fn knows(&self, chain_id: u64) -> bool {
        self.chains.contains_key(&chain_id)
    }
}

#[async_trait]
impl SignatureVerifier for OnChain {
    async fn verify(&self, claim: Claim<'_>, at: Moment) -> Result<Signer, SignatureError> {
        let Claim { chain_id, wallet, text, signature } = claim;
        if siwe::verify_eoa(text, signature, wallet).is_ok() {
            return Ok(Signer::Key);
        }
        let nodes = self.chains.get(&chain_id).ok_or(SignatureError::NoNode { wallet, chain_id })?;
        let invalid = |why: &str| SignatureError::Invalid { wallet, why: why.to_owned() };
        let question = Question::new(&claim).map_err(|_| invalid("it ends as ERC-6492 says, and can't be read"))?;
        let settled = tokio::time::timeout(WITHIN, nodes.settle(&question, at)).await;
        match settled.unwrap_or_else(|_| Err(Unsettled("its nodes are too slow".into()))) {
            Ok((Answer::Yes, block)) => Ok(Signer::Contract(block)),
            Ok((no, _)) => Err(invalid(no.as_str())),
            Err(Unsettled(why)) => Err(SignatureError::Unavailable { chain_id, why }),
        }
    }
}

impl Nodes {
    /// Asks until the answer is one that counts, at most so often.
    async fn settle(&self, question: &Question, at: Moment) -> Result<(Answer, BlockId), Unsettled> {
        let mut tries = 1;
        loop {
            match self.ask(question, at).await {
                Err(Unsettled(why)) if tries < TRIES_MAX => {
                    tracing::debug!(why, "a contract wallet was asked in vain");
                    tries += 1;
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                settled => return settled,
            }
        }
    }

    async fn ask(&self, question: &Question, at: Moment) -> Result<(Answer, BlockId), Unsettled> {
        let pin = pin(&self.pool, self.finality, at).await.map_err(Unsettled)?;
        let block = pin.block;
        let mut answers = self.put(&pin, &question.by_hash(block)).await?;
        if answers.iter().any(|(_, answer)| is_not_understood(answer)) {
            answers = self.put(&pin, &question.by_number(block)).await?;
        }
        let answer = decide(&answers, self.pool.endpoints().len()).map_err(Unsettled)?;
        Ok((answer, block))
    }

    /// The answers of all who are near enough to know the block, by name.
    async fn put(&self, pin: &Pin<'_>, params: &Value) -> Result<Vec<(&str, Result<Answer, RpcError>)>, Unsettled> {
        let answers = self.pool.ask_each("eth_call", params, Answer::read).await;
        let answers = answers.map_err(|error| Unsettled(silence(&error)))?;
        let near = answers.into_iter().filter(|(endpoint, _)| pin.is_known_to(endpoint));
        Ok(near.map(|(endpoint, answer)| (endpoint.name(), answer)).collect())
    }
}

fn is_not_understood(answer: &Result<Answer, RpcError>) -> bool {
    matches!(answer, Err(RpcError::Refused { code, .. }) if NOT_UNDERSTOOD.contains(code))
}

/// What the answers come to. Who is out of reach or of another chain says nothing; who is there and does not know the
/// block, or can't answer, keeps a yes from counting.
fn decide(answers: &[(&str, Result<Answer, RpcError>)], endpoints: usize) -> Result<Answer, String> {
    let (mut yes, mut noes, mut silent) = (0, Vec::new(), NOBODY.to_owned());
    let mut unsure = None;
    for (name, answer) in answers {
        match answer {
            Ok(Answer::Yes) => yes += 1,
            Ok(no) => noes.push(*no),
            Err(error @ (RpcError::Failed(_) | RpcError::Limited(_) | RpcError::OtherChain { .. })) => {
                silent = format!("{name}: {error}")
            }
            Err(error) => unsure = Some(format!("{name}: {error}")),
        }
    }
    match (yes, noes.first()) {
        (0, None) => Err(unsure.unwrap_or(silent)),
        (0, Some(no)) if noes.len() * 2 > endpoints => Ok(*no),
        (0, Some(_)) => Err(format!("only {} of its {endpoints} nodes answer", noes.len())),
        (_, Some(_)) => {
            tracing::warn!(yes, no = noes.len(), "nodes contradict each other about a contract wallet");
            Err("its nodes contradict each other".into())
        }
        (_, None) => unsure.map_or(Ok(Answer::Yes), Err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Yes, no, no code; lagging, refusing, limited, of another chain, down.
    fn answer(letter: char) -> Result<Answer, RpcError> {
        match letter {
            'y' => Ok(Answer::Yes),
            'n' => Ok(Answer::No),
            'c' => Ok(Answer::NoCode),
            'l' => Err(RpcError::Missing),
            'r' => Err(RpcError::Refused { code: 3, message: "reverted".into(), data: None }),
            'x' => Err(RpcError::Limited(None)),
            'o' => Err(RpcError::OtherChain { serves: 5, wanted: 1 }),
            _ => Err(RpcError::Failed("down".into())),
        }
    }

    fn verdict(answers: &str, endpoints: usize) -> Option<Answer> {
        let named: Vec<_> = answers.chars().map(|letter| ("node", answer(letter))).collect();
        decide(&named, endpoints).ok()
    }

    #[test]
    fn a_yes_needs_that_nobody_objects_and_a_no_more_than_half() {
        for (answers, wanted) in [
            ("y", Some(Answer::Yes)),
            ("yyd", Some(Answer::Yes)),
            ("yx", Some(Answer::Yes)),
            ("yo", Some(Answer::Yes)),
            ("no", None),
            ("yn", None),
            ("yyc", None),
            ("yl", None),
            ("yr", None),
            ("n", Some(Answer::No)),
            ("cc", Some(Answer::NoCode)),
            ("nd", None),
            ("nnd", Some(Answer::No)),
            ("nl", None),
            ("dd", None),
            ("r", None),
            ("", None),
        ] {
            assert_eq!(verdict(answers, answers.len()), wanted, "{answers}");
        }
        // one that rests is not asked, and counts as one that does not answer
        assert_eq!(verdict("y", 3), Some(Answer::Yes));
        assert_eq!((verdict("n", 2), verdict("nn", 3)), (None, Some(Answer::No)));
    }
}
