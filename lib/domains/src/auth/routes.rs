//! The HTTP API under `/v1/auth`.

use axum::extract::FromRef;
use nepto_kit::Failure;
use nepto_kit::http::{Asked, Routes};
use nepto_proto::api::auth::{Nonce, Sessions, Tokens, Wallets};
use nepto_proto::api::endpoints::auth::{
    LinkWallet, ListSessions, ListWallets, MakeNonce, RefreshTokens, RevokeDevice, SignIn, SignOut, UnlinkWallet,
};

use super::issuer::Issuer;
use super::ops::Auth;
use crate::request::address;

pub fn routes(issuer: Issuer) -> Routes {
    Routes::new()
        .on(nonce)
        .on(sign_in)
        .on(refresh)
        .on(sign_out)
        .on(sessions)
        .on(wallets)
        .on(link)
        .on(unlink)
        .on(revoke_by_wallet)
        .with_state(issuer)
}

/// Most routes issue nothing.
impl FromRef<Issuer> for Auth {
    fn from_ref(issuer: &Issuer) -> Self {
        issuer.auth.clone()
    }
}

async fn nonce(auth: Auth, asked: Asked<MakeNonce>) -> Result<Nonce, Failure> {
    auth.limit_address(&asked.who.0).await?;
    auth.nonce().await
}

async fn sign_in(issuer: Issuer, asked: Asked<SignIn>) -> Result<Tokens, Failure> {
    issuer.auth.limit_address(&asked.who.0).await?;
    issuer.sign_in(asked.body, &asked.who.0).await
}

async fn refresh(issuer: Issuer, asked: Asked<RefreshTokens>) -> Result<Tokens, Failure> {
    issuer.auth.limit_address(&asked.who.0).await?;
    issuer.refresh(asked.body).await
}

async fn sign_out(auth: Auth, asked: Asked<SignOut>) -> Result<(), Failure> {
    auth.sign_out(&asked.who, asked.body.everywhere).await
}

async fn sessions(auth: Auth, asked: Asked<ListSessions>) -> Result<Sessions, Failure> {
    Ok(Sessions { sessions: auth.sessions(asked.who.account).await? })
}

async fn wallets(auth: Auth, asked: Asked<ListWallets>) -> Result<Wallets, Failure> {
    auth.wallets(asked.who.account).await
}

async fn link(auth: Auth, asked: Asked<LinkWallet>) -> Result<Wallets, Failure> {
    auth.link(asked.who.account, asked.body).await
}

async fn unlink(auth: Auth, asked: Asked<UnlinkWallet>) -> Result<Wallets, Failure> {
    auth.unlink(asked.who.account, address(&asked.path.address)?).await
}

async fn revoke_by_wallet(auth: Auth, asked: Asked<RevokeDevice>) -> Result<(), Failure> {
    auth.limit_address(&asked.who.0).await?;
    auth.revoke_by_wallet(asked.body).await
}
