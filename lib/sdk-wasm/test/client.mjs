// What a page does around the core: it fetches, and holds the socket.
import { webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { HOST } from './server.mjs';
import { Wallet } from './wallet.mjs';

// as in a browser; Node has it by itself from 19 on
globalThis.crypto ??= webcrypto;
const folder = process.env.NEPTO_WASM;
if (!folder) throw new Error('NEPTO_WASM is not set: run `cargo xtask wasm`');
const core = await import(pathToFileURL(join(folder, 'nepto_sdk_wasm.js')));
core.initSync({ module: readFileSync(join(folder, 'nepto_sdk_wasm_bg.wasm')) });

export const { Device, SignIn, Store } = core;

/** Rows in a map, as a page would keep them in a file. */
export class MapBackend {
    rows = new Map();
    /** Whether each commit was durable. */
    commits = [];
    full = false;

    get(key) {
        return this.rows.get(hex(key));
    }

    scan(from, to, descending, limit) {
        const keys = [...this.rows.keys()].filter((key) => hex(from) <= key && key < hex(to)).sort();
        if (descending) keys.reverse();
        return keys.slice(0, limit).map((key) => [Uint8Array.from(Buffer.from(key, 'hex')), this.rows.get(key)]);
    }

    commit(batch, durable) {
        if (this.full) throw new Error('the disk is full');
        this.commits.push(durable);
        for (const [key, value] of batch) {
            if (value === undefined) this.rows.delete(hex(key));
            else this.rows.set(hex(key), value);
        }
    }
}

const hex = (bytes) => Buffer.from(bytes).toString('hex');

/** A person's device, with a way to the server. */
export class Client {
    constructor(server, device) {
        Object.assign(this, { server, device, account: device.account, number: device.number, events: [] });
        this.#take(server.frame(this.account, this.number, device.hello('access')));
    }

    static signIn(server, store = Store.inMemory(), wallet = new Wallet()) {
        const nonce = 'abcdefgh1';
        const signIn = new SignIn(store, server.info(), nonce, HOST, wallet.address, undefined, 'a browser');
        const tokens = server.signIn(signIn.body(wallet.sign(signIn.text)), nonce);
        const client = new Client(server, signIn.finish(`https://${HOST}`, tokens));
        const keys = client.device.oneTimeKeys(server.count(client.account, client.number));
        server.upload(client.account, client.number, keys);
        client.device.uploaded(keys);
        return client;
    }

    #happened(json) {
        if (json) this.events.push(...JSON.parse(json));
    }

    #lookUp(account) {
        this.#happened(this.device.applyDirectory(this.server.directory(account)));
    }

    #take(frame) {
        let step = this.device.receive(frame, false);
        if (step.directory) {
            this.#lookUp(step.directory);
            if (step.events === undefined && step.directory) step = this.device.receive(frame, true);
        }
        this.#happened(step.events);
    }

    /** Sends what is queued. */
    send() {
        for (let step; (step = this.device.prepare()); ) {
            if (step.frame) this.#take(this.server.frame(this.account, this.number, step.frame));
            else if (step.directory) this.#lookUp(step.directory);
            else if (step.bundles) this.device.applyBundles(this.server.bundles(step.bundles, [...step.devices]));
            else this.#happened(step.events);
        }
    }

    say(to, text) {
        const message = JSON.parse(this.device.sendText(to.account, text));
        this.send();
        return message;
    }

    /** Takes in what waits, and acknowledges it. */
    receive() {
        for (const { frame } of this.server.mailbox(this.account, this.number)) this.#take(frame);
        this.server.frame(this.account, this.number, this.device.acknowledge());
    }

    /** The texts of a conversation, oldest first. */
    texts(peer) {
        const history = JSON.parse(this.device.history(peer.account, undefined, 1000));
        return history.reverse().flatMap(({ body }) => body.text ?? []);
    }
}
