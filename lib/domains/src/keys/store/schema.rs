//! The tables of the domain, and how each version of them came from the one before.

use nepto_kit::db::{Migration, Portions};

pub const SCHEMA: &[Migration] = &[
    Migration {
        number: 1,
        statements: "
            -- roster:[account]: the guard row of an account's devices
            DEFINE TABLE IF NOT EXISTS roster SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS revision ON roster TYPE int;
            DEFINE FIELD IF NOT EXISTS last_device ON roster TYPE int;
            DEFINE FIELD IF NOT EXISTS devices ON roster TYPE array<object> ASSERT array::len($value) <= 10;
            DEFINE FIELD IF NOT EXISTS devices.*.device ON roster TYPE int;
            DEFINE FIELD IF NOT EXISTS devices.*.registration_id ON roster TYPE int;
            -- device:[account, device]
            DEFINE TABLE IF NOT EXISTS device SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS account ON device TYPE string;
            DEFINE FIELD IF NOT EXISTS device ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS registration_id ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS identity_key ON device TYPE bytes;
            DEFINE FIELD IF NOT EXISTS name ON device TYPE string;
            DEFINE FIELD IF NOT EXISTS wallet ON device TYPE string;
            DEFINE FIELD IF NOT EXISTS message ON device TYPE string;
            DEFINE FIELD IF NOT EXISTS signature ON device TYPE string;
            DEFINE FIELD IF NOT EXISTS signed_prekey ON device TYPE object;
            DEFINE FIELD IF NOT EXISTS signed_prekey.id ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS signed_prekey.public_key ON device TYPE bytes;
            DEFINE FIELD IF NOT EXISTS signed_prekey.signature ON device TYPE bytes;
            DEFINE FIELD IF NOT EXISTS last_resort ON device TYPE object;
            DEFINE FIELD IF NOT EXISTS last_resort.id ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS last_resort.public_key ON device TYPE bytes;
            DEFINE FIELD IF NOT EXISTS last_resort.signature ON device TYPE bytes;
            DEFINE FIELD IF NOT EXISTS ec_left ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS kyber_left ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS created_at_ms ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS last_seen_at_ms ON device TYPE int;
            DEFINE INDEX IF NOT EXISTS device_idle ON device FIELDS last_seen_at_ms;
            -- ec_prekey:[account, device, id], kyber_prekey:[account, device, id]
            DEFINE TABLE IF NOT EXISTS ec_prekey SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS public_key ON ec_prekey TYPE bytes;
            DEFINE TABLE IF NOT EXISTS kyber_prekey SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS public_key ON kyber_prekey TYPE bytes;
            DEFINE FIELD IF NOT EXISTS signature ON kyber_prekey TYPE bytes;
        ",
        rows: &[],
        compatible_from: None,
    },
    Migration {
        number: 2,
        statements: "
            -- removed_device:[account, device]: who sent what is still on its way
            DEFINE TABLE IF NOT EXISTS removed_device SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS device ON removed_device TYPE int;
            DEFINE FIELD IF NOT EXISTS registration_id ON removed_device TYPE int;
            DEFINE FIELD IF NOT EXISTS identity_key ON removed_device TYPE bytes;
            DEFINE FIELD IF NOT EXISTS message ON removed_device TYPE string;
            DEFINE FIELD IF NOT EXISTS signature ON removed_device TYPE string;
            DEFINE FIELD IF NOT EXISTS removed_at_ms ON removed_device TYPE int;
            DEFINE INDEX IF NOT EXISTS removed_device_age ON removed_device FIELDS removed_at_ms;
        ",
        rows: &[],
        compatible_from: None,
    },
    Migration {
        number: 3,
        statements: "
            -- the largest ids that were ever taken, and the sums of the tags of the one-time prekeys that are there
            DEFINE FIELD IF NOT EXISTS ec_top ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS kyber_top ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS signed_top ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS last_resort_top ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS ec_sum ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS kyber_sum ON device TYPE int;
            DEFINE FIELD IF NOT EXISTS tag ON ec_prekey TYPE int;
            DEFINE FIELD IF NOT EXISTS tag ON kyber_prekey TYPE int;
            -- identity:[key]: the one account that an identity key belongs to, for good
            DEFINE TABLE IF NOT EXISTS identity SCHEMAFULL;
            DEFINE FIELD IF NOT EXISTS account ON identity TYPE string;
        ",
        rows: &[
            // one-time prekeys whose signatures nobody checked: their devices upload new ones when they connect
            Portions { table: "ec_prekey", change: "DELETE $rows WHERE tag = NONE RETURN NONE" },
            Portions { table: "kyber_prekey", change: "DELETE $rows WHERE tag = NONE RETURN NONE" },
            Portions {
                table: "device",
                change: "
                    UPDATE $rows SET ec_left = 0, kyber_left = 0, ec_sum = 0, kyber_sum = 0, ec_top = 0, kyber_top = 0,
                        signed_top = signed_prekey.id, last_resort_top = last_resort.id WHERE ec_top = NONE RETURN NONE;
                    -- of several accounts with the same key, the first has it
                    FOR $known IN (SELECT account, identity_key, created_at_ms FROM $rows) {
                        LET $identity = type::record('identity', encoding::base64::encode($known.identity_key));
                        LET $owner = (SELECT VALUE account FROM ONLY $identity);
                        LET $since = array::min((SELECT VALUE created_at_ms FROM device:[$owner, NONE]..[$owner, []]
                            WHERE identity_key = $known.identity_key));
                        IF $owner = NONE OR $known.created_at_ms < $since {
                            UPSERT $identity SET account = $known.account RETURN NONE;
                        };
                    }
                ",
            },
        ],
        compatible_from: None,
    },
    Migration {
        number: 4,
        statements: "
            -- the number of the last event about the wallet when it certified the device; none before this was kept
            DEFINE FIELD IF NOT EXISTS wallet_version ON device TYPE option<int>;
        ",
        rows: &[],
        compatible_from: None,
    },
    Migration {
        number: 5,
        statements: "
            -- `account:device` while its one-time prekeys of a kind are fewer than 60, so that nobody reads the others
            DEFINE FIELD IF NOT EXISTS low ON device TYPE option<string>
                VALUE IF ec_left < 60 OR kyber_left < 60 THEN string::join(':', account, <string>device) ELSE NONE END;
            DEFINE INDEX IF NOT EXISTS device_low ON device FIELDS low;
            DEFINE INDEX IF NOT EXISTS device_last_seen ON device FIELDS last_seen_at_ms;
        ",
        rows: &[Portions { table: "device", change: "UPDATE $rows RETURN NONE" }],
        compatible_from: None,
    },
];
