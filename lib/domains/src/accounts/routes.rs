//! The HTTP API under `/v1/accounts` and `/v1/contacts`.

use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use nepto_proto::api::accounts::{Account, Contact, Contacts};
use nepto_proto::api::endpoints::accounts::{
    DecideContact, GetOwnAccount, ListContacts, LookUpAccount, UpdateOwnAccount,
};

use super::ops::Accounts;
use crate::request::page_of;

pub fn routes(accounts: Accounts) -> Routes {
    Routes::new().on(me).on(update).on(look_up).on(contacts).on(decide).with_state(accounts)
}

async fn me(accounts: Accounts, asked: Asked<GetOwnAccount>) -> Result<Account, Failure> {
    accounts.account(asked.who.account).await
}

async fn update(accounts: Accounts, asked: Asked<UpdateOwnAccount>) -> Result<Account, Failure> {
    accounts.update(asked.who.account, asked.body).await
}

async fn look_up(accounts: Accounts, asked: Asked<LookUpAccount>) -> Result<Account, Failure> {
    accounts.look_up(&asked.path.account).await
}

async fn contacts(accounts: Accounts, asked: Asked<ListContacts>) -> Result<Contacts, Failure> {
    accounts.contacts(asked.who.account, asked.query.after, page_of(asked.query.limit)?).await
}

async fn decide(accounts: Accounts, asked: Asked<DecideContact>) -> Result<Contact, Failure> {
    accounts.decide(asked.who.account, asked.path.account, asked.body.consent).await
}
