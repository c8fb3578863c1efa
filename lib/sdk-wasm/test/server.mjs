// A server in memory: sign-in, directories, bundles, and a gateway with mailboxes. It reads bodies as JSON and frames by the
// repository's own .proto file, and shares no code with the core.
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { signerOf } from './wallet.mjs';

export const HOST = 'chat.example.org';

const proto = protobuf.loadSync(fileURLToPath(new URL('../../proto/proto/nepto.proto', import.meta.url)));
const ClientFrame = proto.lookupType('nepto.v1.ClientFrame');
const ServerFrame = proto.lookupType('nepto.v1.ServerFrame');
export const CiphertextType = proto.lookupEnum('nepto.v1.CiphertextType').values;

const encode = (frame) => ServerFrame.encode(frame).finish();
const uuidOf = (bytes) => Buffer.from(bytes).toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
const bytesOf = (uuid) => Buffer.from(uuid.replaceAll('-', ''), 'hex');

export class Server {
    #accounts = new Map();
    #wallets = new Map();
    #sequence = 0;
    /** Every `SendDm` that was stored. */
    sent = [];

    /** `/v1/info` */
    info() {
        return JSON.stringify({
            domain: HOST, uri: `https://${HOST}`, chains: [1], sockets: [], server_time_ms: Date.now(),
        });
    }

    /** `POST /v1/auth/sign-in`: checks what a wallet said, as the real one does. */
    signIn(body, nonce) {
        const { signed, device: setup } = JSON.parse(body);
        const [first, address] = signed.message.split('\n');
        const said = (line) => signed.message.match(new RegExp(`^${line}: (.+)$`, 'm'))?.[1];
        const resource = signed.message.match(/^- urn:nepto:device:(\d+):([\w-]+)$/m);
        if (first !== `${HOST} wants you to sign in with your Ethereum account:` || said('Nonce') !== nonce || !resource) {
            throw new Error(`not a sign-in message for this server:\n${signed.message}`);
        }
        if (signerOf(signed.message, Buffer.from(signed.signature.slice(2), 'hex')) !== address) {
            throw new Error('somebody else signed');
        }
        const id = this.#wallets.get(address) ?? randomUUID();
        this.#wallets.set(address, id);
        const account = this.#accounts.get(id) ?? { wallet: address, devices: new Map(), numbers: 0 };
        this.#accounts.set(id, account);
        const same = [...account.devices.values()].find(({ public: { identity_key: key } }) => key === resource[2]);
        const device = same?.public.device ?? ++account.numbers;
        account.devices.set(device, {
            public: {
                device, registration_id: Number(resource[1]), identity_key: resource[2], certificate: signed,
            },
            setup, ec: same?.ec ?? [], kyber: same?.kyber ?? [], mailbox: same?.mailbox ?? [],
        });
        const later = new Date(Date.now() + 600_000).toISOString();
        return JSON.stringify({
            account: id, device, session: randomUUID(),
            access_token: 'access', access_expires_at: later, refresh_token: 'refresh', refresh_expires_at: later,
        });
    }

    /** `DELETE /v1/devices/{device}` */
    remove(account, device) {
        this.#accounts.get(account).devices.delete(device);
    }

    #device(account, device) {
        return this.#accounts.get(account).devices.get(device);
    }

    #wallets_of(account) {
        const { wallet } = this.#accounts.get(account);
        return { root: wallet, wallets: [wallet], links: [] };
    }

    /** `PUT /v1/keys` */
    upload(account, device, body) {
        const { ec, kyber } = JSON.parse(body);
        this.#device(account, device).ec.push(...ec);
        this.#device(account, device).kyber.push(...kyber);
    }

    /** `/v1/keys/count` */
    count(account, device) {
        const { ec, kyber } = this.#device(account, device);
        return JSON.stringify({ ec: ec.length, kyber: kyber.length });
    }

    /** `/v1/accounts/{account}/devices` */
    directory(account) {
        const devices = [...this.#accounts.get(account).devices.values()].map((device) => device.public);
        return JSON.stringify({ account, wallets: this.#wallets_of(account), devices });
    }

    /** `/v1/accounts/{account}/bundles` */
    bundles(account, devices) {
        const bundles = devices.map((number) => {
            const device = this.#device(account, number);
            return {
                device: device.public,
                signed_prekey: device.setup.signed_prekey,
                ec_prekey: device.ec.shift(),
                kyber_prekey: device.kyber.shift() ?? device.setup.last_resort,
            };
        });
        return JSON.stringify({ account, wallets: this.#wallets_of(account), bundles });
    }

    /** A frame of a device; the answer, if it wants one. */
    frame(account, device, bytes) {
        const { id, kind, ...frame } = ClientFrame.toObject(ClientFrame.decode(bytes), { oneofs: true, defaults: true });
        switch (kind) {
            case 'hello':
                return encode({
                    replyTo: id,
                    welcome: { account: bytesOf(account), device, epoch: 1, serverTimeMs: Date.now(), window: 100 },
                });
            case 'sendDm':
                return encode({ replyTo: id, ...this.#submit(account, device, frame.sendDm) });
            case 'ack': {
                const own = this.#device(account, device);
                own.mailbox = own.mailbox.filter(({ seq }) => seq > Number(frame.ack.upTo));
                return undefined;
            }
            default:
                throw new Error(`an unexpected frame: ${kind}`);
        }
    }

    #submit(from, fromDevice, send) {
        const to = uuidOf(send.to);
        for (const [account, given] of [[to, send.toDevices], ...(to === from || send.recipientOnly ? [] : [[from, send.ownDevices]])]) {
            const wanted = [...this.#accounts.get(account).devices.values()]
                .map((device) => device.public)
                .filter((device) => account !== from || device.device !== fromDevice);
            const missing = wanted.filter(({ device }) => !given.some((one) => one.device === device));
            const extra = given.filter(({ device }) => !wanted.some((one) => one.device === device));
            if (missing.length + extra.length > 0) {
                const numbers = (devices) => devices.map(({ device }) => device);
                return {
                    mismatch: {
                        clientMsgId: send.clientMsgId, account: bytesOf(account),
                        missing: numbers(missing), extra: numbers(extra),
                    },
                };
            }
        }
        this.sent.push(send);
        for (const [account, ciphertexts] of [[to, send.toDevices], [from, send.ownDevices]]) {
            for (const { device, type, ciphertext } of ciphertexts) {
                this.deliver(account, device, {
                    from: bytesOf(from), fromDevice, clientMsgId: send.clientMsgId, type, ciphertext,
                });
            }
        }
        return { stored: { clientMsgId: send.clientMsgId } };
    }

    /** Puts an envelope into a mailbox. */
    deliver(account, device, envelope) {
        const seq = ++this.#sequence;
        const frame = encode({ deliver: { seq, storedAtMs: Date.now(), envelope } });
        this.#device(account, device).mailbox.push({ seq, frame, envelope });
    }

    /** What waits for a device. */
    mailbox(account, device) {
        return [...this.#device(account, device).mailbox];
    }
}
