//! Wallets that are contracts: deployed ones, ones that do not exist yet, and ones that misbehave, on a real chain.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolValue};
use anyhow::{Context, Result};
use nepto_proto::ErrorCode;
use nepto_sdk::http::Http;
use nepto_sdk::{ChainNodes, Client, ContractWallet, Creation, Env, Event, LoginOptions, SdkError, Wallet};
use nepto_testkit::contracts::deploy;
use nepto_testkit::{Anvil, FaultProxy, Lie, LyingRpc, Stack, Transaction, WatchedChain, eventually, seconds};
use serde_json::json;

use crate::people::Person;

#[allow(missing_docs)]
mod abi {
    alloy_sol_types::sol! {
        function handOver(address next) external;
        function make(address owner, bytes32 salt) external returns (address);
        function addressOf(address owner, bytes32 salt) external view returns (address);
    }
}

/// A block is final with so many on top.
const FINALITY: u64 = 2;
/// The manners of `RogueWallet`.
const MANNERS: u8 = 11;

/// A server that knows a chain, and the chain.
struct World {
    anvil: Anvil,
    stack: Stack,
}

/// The key of an account of the chain, which the chain signs for as well.
fn owner(index: u32) -> Wallet {
    Wallet::from_mnemonic(nepto_testkit::MNEMONIC, index).unwrap()
}

async fn stack_asking(anvil: &Anvil, urls: &[String]) -> Result<Stack> {
    let chain = WatchedChain::of(anvil, FINALITY).through(urls);
    Stack::builder().unlimited().set("public.chains", vec![1, anvil.chain_id() as i64]).chain(&chain).all().await
}

impl World {
    async fn new() -> Result<Self> {
        let anvil = Anvil::start().await?;
        let stack = stack_asking(&anvil, &[anvil.url()]).await?;
        Ok(Self { anvil, stack })
    }

    /// A wallet of this owner, deployed.
    async fn wallet_of(&self, owner: &Wallet) -> Result<Address> {
        deploy(&self.anvil, "Wallets.sol/OwnedWallet", &owner.address().abi_encode()).await
    }

    fn contract(&self, address: Address, creation: Option<Creation>) -> ContractWallet {
        ContractWallet { address, chain_id: self.anvil.chain_id(), creation }
    }

    /// A key that speaks for a wallet.
    fn speaks_for(&self, key: u32, wallet: Address) -> Wallet {
        owner(key).of_contract(self.contract(wallet, None))
    }

    fn nodes(&self) -> ChainNodes {
        ChainNodes::from([(self.anvil.chain_id(), vec![self.anvil.url()])])
    }

    fn options(&self) -> LoginOptions {
        LoginOptions { nodes: self.nodes(), ..LoginOptions::new(self.stack.url()) }
    }

    async fn login(&self, wallet: &Wallet) -> Result<Client, SdkError> {
        Client::login(self.options(), wallet).await
    }

    /// The code that a sign-in is refused with.
    async fn refusal(&self, wallet: &Wallet) -> Option<ErrorCode> {
        self.login(wallet).await.err().expect("refused").code()
    }

    /// The wallet changes hands, and that is final.
    async fn hand_over(&self, wallet: Address, from: &Wallet, to: &Wallet) -> Result<()> {
        let call = abi::handOverCall { next: to.address() }.abi_encode();
        self.anvil.send(&Transaction::call(from.address(), wallet, call)).await?;
        self.anvil.mine(FINALITY + 1).await
    }
}

#[tokio::test]
async fn who_owns_a_deployed_wallet_signs_in_and_nobody_else() {
    let world = World::new().await.unwrap();
    let wallet = world.wallet_of(&owner(1)).await.unwrap();
    let client = world.login(&world.speaks_for(1, wallet)).await.unwrap();
    assert_eq!(client.wallets().await.unwrap().wallets, [wallet.to_string()]);
    // the same wallet is the same account, whatever device
    let again = world.login(&world.speaks_for(1, wallet)).await.unwrap();
    assert_eq!((again.account(), client.devices().await.unwrap().len()), (client.account(), 2));
    assert_eq!(world.refusal(&world.speaks_for(2, wallet)).await, Some(ErrorCode::SignatureInvalid));
    // no contract at all
    let nobody = Address::repeat_byte(0x77);
    assert_eq!(world.refusal(&world.speaks_for(1, nobody)).await, Some(ErrorCode::SignatureInvalid));
    // a wallet can take a device away from its account without being signed in
    let http = Http::new(&world.stack.url(), Env::system(), Box::new(())).unwrap();
    assert!(http.info().await.unwrap().chains.contains(&world.anvil.chain_id()));
    let revoke = async |wallet: &Wallet| {
        nepto_sdk::revoke_device_by_wallet(&world.stack.url(), None, wallet, again.device(), &Env::system()).await
    };
    assert!(revoke(&world.speaks_for(2, wallet)).await.is_err());
    revoke(&world.speaks_for(1, wallet)).await.unwrap();
    assert_eq!(client.devices().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_wallet_that_does_not_exist_yet_signs_in_with_the_call_that_makes_it() {
    let world = World::new().await.unwrap();
    let factory = deploy(&world.anvil, "Wallets.sol/WalletFactory", &[]).await.unwrap();
    let salt = B256::repeat_byte(7);
    let ask = abi::addressOfCall { owner: owner(1).address(), salt }.abi_encode();
    let answer =
        world.anvil.rpc("eth_call", json!([{ "to": factory, "data": Bytes::from(ask) }, "latest"])).await.unwrap();
    let word: B256 = serde_json::from_value(answer).unwrap();
    let address = Address::from_word(word);
    let call = |owner: Address| Bytes::from(abi::makeCall { owner, salt }.abi_encode());
    let made_by = |key: u32, factory: Address, call: Bytes| {
        owner(key).of_contract(world.contract(address, Some(Creation { factory, call })))
    };
    let right = made_by(1, factory, call(owner(1).address()));
    let client = world.login(&right).await.unwrap();
    assert_eq!(world.anvil.rpc("eth_getCode", json!([address, "latest"])).await.unwrap(), "0x", "nothing was made");
    // by another key; with a call that makes another wallet, none, or fails; without a call
    let nobody = Address::repeat_byte(0x99);
    for wrong in [
        made_by(2, factory, call(owner(1).address())),
        made_by(2, factory, call(owner(2).address())),
        made_by(1, nobody, call(owner(1).address())),
        made_by(1, factory, Bytes::from_static(&[1, 2, 3, 4])),
        owner(1).of_contract(world.contract(address, None)),
    ] {
        assert_eq!(world.refusal(&wrong).await, Some(ErrorCode::SignatureInvalid));
    }
    // what it signed still holds once it exists, for as long as its owner stays the same
    world.anvil.send(&Transaction::call(owner(3).address(), factory, call(owner(1).address()))).await.unwrap();
    assert_eq!(world.login(&right).await.unwrap().account(), client.account());
    world.hand_over(address, &owner(1), &owner(2)).await.unwrap();
    assert_eq!(world.refusal(&right).await, Some(ErrorCode::SignatureInvalid));
    assert_eq!(world.login(&world.speaks_for(2, address)).await.unwrap().account(), client.account());
}

#[tokio::test]
async fn whatever_a_wallet_does_it_is_refused_and_soon() {
    let world = World::new().await.unwrap();
    for manner in 0..MANNERS {
        let arguments = U256::from(manner).abi_encode();
        let wallet = deploy(&world.anvil, "Wallets.sol/RogueWallet", &arguments).await.unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!(world.refusal(&world.speaks_for(1, wallet)).await, Some(ErrorCode::SignatureInvalid), "{manner}");
        assert!(began.elapsed() < seconds(5), "{manner}: {:?}", began.elapsed());
    }
    for manner in 0..3_u8 {
        let factory = deploy(&world.anvil, "Wallets.sol/RogueFactory", &U256::from(manner).abi_encode()).await.unwrap();
        let creation = Some(Creation { factory, call: Bytes::new() });
        let wallet = owner(1).of_contract(world.contract(Address::repeat_byte(0x78), creation));
        assert_eq!(world.refusal(&wallet).await, Some(ErrorCode::SignatureInvalid), "{manner}");
    }
}

#[tokio::test]
async fn a_chain_that_nobody_configured_is_named() {
    let world = World::new().await.unwrap();
    let nodes = ChainNodes::from([(1, vec![world.anvil.url()])]);
    let options = LoginOptions { nodes, ..LoginOptions::new(world.stack.url()) };
    let contract = ContractWallet { address: Address::repeat_byte(0x77), chain_id: 1, creation: None };
    let error = Client::login(options, &owner(1).of_contract(contract)).await.err().expect("refused");
    assert_eq!(error.code(), Some(ErrorCode::ContractWallet));
    assert!(error.to_string().contains("chain 1"), "{error}");
    // nor does a client sign in that could not know its own devices
    let wallet = world.speaks_for(1, Address::repeat_byte(0x77));
    let error = Client::login(LoginOptions::new(world.stack.url()), &wallet).await.err().expect("refused");
    assert!(matches!(error, SdkError::OwnNodeNeeded { chain_id, .. } if chain_id == world.anvil.chain_id()), "{error}");
}

#[tokio::test]
async fn a_chain_that_is_away_keeps_contracts_out_and_nobody_else() {
    let anvil = Anvil::start().await.unwrap();
    let proxy = FaultProxy::start(anvil.address()).await.unwrap();
    let stack = stack_asking(&anvil, &[format!("http://{}", proxy.address())]).await.unwrap();
    let world = World { anvil, stack };
    let wallet = world.wallet_of(&owner(1)).await.unwrap();
    let signed_in = world.login(&world.speaks_for(1, wallet)).await.unwrap();
    proxy.cut().await.unwrap();
    assert_eq!(world.refusal(&world.speaks_for(1, wallet)).await, Some(ErrorCode::Unavailable));
    assert_eq!(world.refusal(&world.speaks_for(2, wallet)).await, Some(ErrorCode::Unavailable), "unknown, not no");
    // keys need no chain
    Person::join(&world.stack).await.unwrap();
    // and who is signed in stays so, although the wallet changed hands
    world.hand_over(wallet, &owner(1), &owner(2)).await.unwrap();
    eventually(seconds(40), async || Ok(world.stack.api.log().contains("1 of them in vain"))).await.unwrap();
    assert_eq!(signed_in.devices().await.unwrap().len(), 1);
    proxy.stall().await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(world.refusal(&world.speaks_for(2, wallet)).await, Some(ErrorCode::Unavailable));
    assert!(began.elapsed() < seconds(14), "{:?}", began.elapsed());
    proxy.heal().await.unwrap();
    eventually(seconds(40), async || Ok(world.login(&world.speaks_for(2, wallet)).await.is_ok())).await.unwrap();
}

#[tokio::test]
async fn a_node_that_lies_signs_nobody_in() {
    let anvil = Anvil::start().await.unwrap();
    let honest = LyingRpc::start(&anvil).await.unwrap();
    let wallet = deploy(&anvil, "Wallets.sol/OwnedWallet", &owner(1).address().abi_encode()).await.unwrap();
    // the same blocks, and another owner in its state
    let liar = anvil.twin().await.unwrap();
    let stolen = json!([wallet, B256::ZERO, owner(2).address().into_word()]);
    liar.rpc("anvil_setStorageAt", stolen).await.unwrap();
    let alone = World { stack: stack_asking(&anvil, &[liar.url()]).await.unwrap(), anvil };
    alone.login(&alone.speaks_for(2, wallet)).await.expect("one node alone is believed");
    let stack = stack_asking(&alone.anvil, &[honest.url(), liar.url()]).await.unwrap();
    let world = World { stack, anvil: alone.anvil };
    // they contradict each other: nobody gets in, rather than the wrong one
    for key in [1, 2] {
        assert_eq!(world.refusal(&world.speaks_for(key, wallet)).await, Some(ErrorCode::Unavailable));
    }
}

#[tokio::test]
async fn a_node_that_is_behind_says_nothing_about_now() {
    let anvil = Anvil::start().await.unwrap();
    let (first, second) = (LyingRpc::start(&anvil).await.unwrap(), LyingRpc::start(&anvil).await.unwrap());
    let stack = stack_asking(&anvil, &[first.url(), second.url()]).await.unwrap();
    let world = World { anvil, stack };
    let wallet = world.wallet_of(&owner(1)).await.unwrap();
    let stuck = world.anvil.block_number().await.unwrap();
    world.hand_over(wallet, &owner(1), &owner(2)).await.unwrap();
    // a little behind is the newest block that both have
    second.tell(Lie::Lag { blocks: 1 });
    world.login(&world.speaks_for(2, wallet)).await.unwrap();
    // far behind is a node that stands still: the old owner would be the owner there
    world.anvil.mine(40).await.unwrap();
    second.truth();
    second.tell(Lie::Stuck { at: stuck });
    for key in [1, 2] {
        assert_eq!(world.refusal(&world.speaks_for(key, wallet)).await, Some(ErrorCode::Unavailable));
    }
}

#[tokio::test]
async fn with_a_new_owner_the_sessions_and_devices_of_the_old_one_end() {
    let world = World::new().await.unwrap();
    let wallet = world.wallet_of(&owner(1)).await.unwrap();
    let old = world.login(&world.speaks_for(1, wallet)).await.unwrap();
    let mut events = old.connect().await.unwrap();
    let mut bob = Person::join(&world.stack).await.unwrap();
    bob.client.set_nodes(&world.nodes()).unwrap();
    old.send_text(bob.account(), "from the old owner", None, None).unwrap();
    bob.hears_text("from the old owner").await.unwrap();
    bob.client.accept(old.account()).await.unwrap();
    world.hand_over(wallet, &owner(1), &owner(2)).await.unwrap();
    assert_eq!(world.refusal(&world.speaks_for(1, wallet)).await, Some(ErrorCode::SignatureInvalid));
    // the new one signs in, and what the wallet signed is asked for again
    let new = world.login(&world.speaks_for(2, wallet)).await.unwrap();
    assert_eq!(new.account(), old.account());
    world.anvil.mine(FINALITY).await.unwrap();
    let alone = async || {
        let devices = new.devices().await?;
        Ok(matches!(&devices[..], [only] if only.device == new.device()))
    };
    eventually(seconds(90), alone).await.unwrap();
    // the socket closes, and nothing works any more
    let closed = async {
        while let Some(event) = events.next().await {
            if matches!(event, Event::SignedOut { code: Some(ErrorCode::SessionRevoked) }) {
                return;
            }
        }
        panic!("the events ended otherwise");
    };
    tokio::time::timeout(seconds(20), closed).await.unwrap();
    assert!(old.whoami().await.is_err());
    assert_eq!(new.sessions().await.unwrap().len(), 1);
    // peers go on with the new device
    let message = bob.client.send_text(new.account(), "who are you now?", None, None).unwrap();
    tokio::time::timeout(seconds(20), bob.client.wait_sent(message.id.id)).await.unwrap().unwrap();
}

#[tokio::test]
async fn clients_ask_the_chain_themselves() {
    let world = World::new().await.unwrap();
    let wallet = world.wallet_of(&owner(1)).await.unwrap();
    let carol = world.login(&world.speaks_for(1, wallet)).await.unwrap();
    let mut from_carol = carol.connect().await.unwrap();
    let mut bob = Person::join(&world.stack).await.unwrap();
    let chain = world.anvil.chain_id();
    // without a node nothing is believed, and nothing sent
    let error = bob.client.resolve(&wallet.to_string()).await.unwrap_err();
    assert!(matches!(error, SdkError::NodeNeeded { chain_id, .. } if chain_id == chain), "{error}");
    let message = bob.client.send_text(carol.account(), "unsent", None, None).unwrap();
    assert!(matches!(bob.client.wait_sent(message.id.id).await, Err(SdkError::NotSent(why)) if why.contains("a node")));
    // nor is a message of somebody listened to whose wallet nobody can ask
    carol.send_text(bob.account(), "unheard", None, None).unwrap();
    let refused = bob.until(|event| matches!(event, Event::Uncertified { .. })).await.unwrap();
    assert!(matches!(&refused, Event::Uncertified { reason, .. } if reason.contains("name a node")), "{refused:?}");
    // with one both go
    bob.client.set_nodes(&world.nodes()).unwrap();
    assert_eq!(bob.client.resolve(&wallet.to_string()).await.unwrap().account, carol.account());
    let sent = bob.client.send_text(carol.account(), "heard", None, None).unwrap();
    bob.client.wait_sent(sent.id.id).await.unwrap();
    let heard = async {
        loop {
            match from_carol.next().await.context("the events ended")? {
                Event::Request(message) | Event::Message(message) => return anyhow::Ok(message),
                _ => {}
            }
        }
    };
    let message = tokio::time::timeout(seconds(20), heard).await.unwrap().unwrap();
    assert_eq!(message.body, nepto_sdk::model::Body::Text("heard".into()));
    carol.send_text(bob.account(), "and back", None, None).unwrap();
    bob.hears_text("and back").await.unwrap();
}

#[tokio::test]
async fn contracts_link_and_are_linked_and_a_link_ends_with_its_attestation() {
    let world = World::new().await.unwrap();
    let (wallet, key) = (world.wallet_of(&owner(1)).await.unwrap(), owner(5));
    let client = world.login(&key).await.unwrap();
    let contract = world.speaks_for(1, wallet);
    let wallets = client.link_wallet(&key, &contract).await.unwrap();
    assert_eq!(wallets.wallets, [key.address().to_string(), wallet.to_string()]);
    let by_contract = world.login(&contract).await.unwrap();
    assert_eq!(by_contract.account(), client.account());
    // the contract vouches for a further key
    let further = owner(6);
    let linked = client.link_wallet(&contract, &further).await.unwrap();
    assert_eq!(linked.wallets.len(), 3);
    world.login(&further).await.unwrap();
    world.hand_over(wallet, &owner(1), &owner(2)).await.unwrap();
    // somebody else's wallet is no part of the account, nor what it vouched for
    let left = async || Ok(client.wallets().await?.wallets == [key.address().to_string()]);
    eventually(seconds(90), left).await.unwrap();
    eventually(seconds(10), async || Ok(client.devices().await?.len() == 1)).await.unwrap();
    let stranger = world.login(&world.speaks_for(2, wallet)).await.unwrap();
    assert_ne!(stranger.account(), client.account());
}

#[tokio::test]
async fn a_contract_is_known_on_one_chain() {
    // a chain on which an attacker made a contract at the same address
    let (anvil, elsewhere) = (Anvil::start().await.unwrap(), Anvil::builder().chain_id(77).start().await.unwrap());
    let chains = [WatchedChain::of(&anvil, FINALITY), WatchedChain::of(&elsewhere, FINALITY)];
    let [first, second] = &chains;
    let accepted = vec![anvil.chain_id() as i64, 77];
    let stack = Stack::builder().unlimited().set("public.chains", accepted).chain(first).chain(second).all();
    let world = World { anvil, stack: stack.await.unwrap() };
    let wallet = world.wallet_of(&owner(1)).await.unwrap();
    let same = deploy(&elsewhere, "Wallets.sol/OwnedWallet", &owner(2).address().abi_encode()).await.unwrap();
    assert_eq!(same, wallet, "deployers' first contracts");
    world.login(&world.speaks_for(1, wallet)).await.unwrap();
    let thief = owner(2).of_contract(ContractWallet { address: wallet, chain_id: 77, creation: None });
    let nodes = ChainNodes::from([(77, vec![elsewhere.url()])]);
    let error = Client::login(LoginOptions { nodes, ..world.options() }, &thief).await.err().expect("refused");
    assert_eq!(error.code(), Some(ErrorCode::WalletChain));
    assert!(error.to_string().contains(&format!("chain {}", world.anvil.chain_id())), "{error}");
}

#[tokio::test]
async fn an_owner_that_delegates_its_own_address_signs_by_key_and_by_code() {
    let world = World::new().await.unwrap();
    // an address of a key, with code: as after EIP-7702
    let key = owner(4);
    let code_of = world.wallet_of(&owner(1)).await.unwrap();
    let code = format!("0xef0100{}", hex::encode(code_of));
    world.anvil.rpc("anvil_setCode", json!([key.address(), code])).await.unwrap();
    let client = world.login(&key).await.unwrap();
    // the code says yes to whom it takes for the owner
    let owner_word = owner(1).address().into_word();
    world.anvil.rpc("anvil_setStorageAt", json!([key.address(), B256::ZERO, owner_word])).await.unwrap();
    let by_code = world.speaks_for(1, key.address());
    assert_eq!(world.login(&by_code).await.unwrap().account(), client.account());
    assert_eq!(world.refusal(&world.speaks_for(2, key.address())).await, Some(ErrorCode::SignatureInvalid));
}
