//! Signing in and out, and the wallets of an account.

use crate::api::auth::{self, Nonce, Sessions, Tokens, Wallets};
use crate::api::endpoint::path_parameters;
use crate::certificate;

path_parameters! {
    /// A wallet.
    AddressPath {
        /// Its address (EIP-55), in any capitals.
        address: String as Address,
    }
}

crate::endpoints! {
    "auth"

    /// Makes a nonce for one sign-in message.
    ///
    /// It works once, and for some minutes. Linking a wallet and revoking a device need one as well.
    Post "/v1/auth/nonce" => MakeNonce {
        asker: Anybody,
        reply: Nonce,
        repeatable: true,
        codes: [],
    }

    /// Signs in with a wallet's signature, which also certifies the device.
    ///
    /// The message names the device's identity key in its resource `urn:nepto:device:<registration id>:<identity key>`. A wallet
    /// that is new here gets an account, if it has what the server asks for (`sign_up` of `/v1/info`). With `device_limit` come
    /// the account's devices, one of which must be revoked first.
    Post "/v1/auth/sign-in" => SignIn {
        asker: Anybody,
        body: auth::SignIn,
        reply: Tokens,
        codes: [
            SiweMalformed, SiweDomain, SiweUri, SiweChain, SiweExpired, SiweNotYetValid, SiweResource, ClockSkew,
            NonceInvalid, SignatureInvalid, ContractWallet, WalletChain, InviteNeeded, InviteInvalid, BalanceNeeded,
            NftNeeded, AgeNeeded, NameInvalid, KeyInvalid, IdentityTaken, DeviceLimit, DeviceUnknown, WalletUnknown,
        ],
    }

    /// Exchanges a refresh token, which works once, for new tokens.
    ///
    /// The device signs the exchange with its identity key. A token that is used a second time ends the session, unless the
    /// answer to the first time may have been lost.
    Post "/v1/auth/refresh" => RefreshTokens {
        asker: Anybody,
        body: auth::Refresh,
        reply: Tokens,
        codes: [RefreshInvalid, RefreshReused, RefreshUnsigned, RefreshSignature],
    }

    /// Ends this session, or all sessions of the account.
    ///
    /// Their sockets are closed and their tokens refused from the moment of the answer on.
    Post "/v1/auth/sign-out" => SignOut {
        body: auth::SignOut,
        codes: [],
    }

    /// Lists the sessions of the account that are signed in.
    Get "/v1/auth/sessions" => ListSessions {
        reply: Sessions,
        codes: [],
    }

    /// Lists the wallets of the account, with the signatures that tie them together.
    Get "/v1/auth/wallets" => ListWallets {
        reply: Wallets,
        codes: [AccountUnknown],
    }

    /// Links a further wallet.
    ///
    /// It takes the signatures of the new wallet (`urn:nepto:join:…`) and of one that belongs to the account already
    /// (`urn:nepto:link:…`), each with a nonce of its own.
    Post "/v1/auth/wallets" => LinkWallet {
        body: certificate::WalletLink,
        reply: Wallets,
        codes: [
            SiweMalformed, SiweDomain, SiweUri, SiweChain, SiweExpired, SiweNotYetValid, SiweResource, ClockSkew,
            NonceInvalid, SignatureInvalid, ContractWallet, WalletChain, WalletUnknown, WalletLinked, WalletLimit,
            AccountUnknown,
        ],
    }

    /// Unlinks a wallet, and removes the devices that it certified.
    ///
    /// If other wallets belong to the account by this one's attestation alone, another one must approve them first (`wallet_needed`).
    Delete "/v1/auth/wallets/{address}" => UnlinkWallet {
        path: AddressPath,
        reply: Wallets,
        codes: [WalletUnknown, WalletLast, WalletNeeded, AccountUnknown],
    }

    /// Removes a device by a wallet's signature alone.
    ///
    /// For somebody who lost a device, or is locked out at the limit of devices. The message has the resource
    /// `urn:nepto:revoke:<device>`.
    Post "/v1/auth/devices/revoke" => RevokeDevice {
        asker: Anybody,
        body: auth::RevokeByWallet,
        codes: [
            SiweMalformed, SiweDomain, SiweUri, SiweChain, SiweExpired, SiweNotYetValid, SiweResource, ClockSkew,
            NonceInvalid, SignatureInvalid, ContractWallet, WalletChain, AccountUnknown, DeviceUnknown,
        ],
    }
}
