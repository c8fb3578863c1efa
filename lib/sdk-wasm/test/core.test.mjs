import assert from 'node:assert/strict';
import { test } from 'node:test';
import protobuf from 'protobufjs';
import { Client, Device, MapBackend, SignIn, Store } from './client.mjs';
import { CiphertextType, HOST, Server } from './server.mjs';
import { Wallet } from './wallet.mjs';

function friends(backend = new MapBackend()) {
    const server = new Server();
    const alice = Client.signIn(server);
    const bob = Client.signIn(server, Store.openWithKey(backend, 'a random key'));
    alice.say(bob, 'hello');
    bob.receive();
    bob.device.accept(alice.account);
    bob.say(alice, 'hi');
    alice.receive();
    return { server, alice, bob };
}

test('a wallet signs in for the host of the page and for no other', () => {
    const server = new Server();
    const wallet = new Wallet();
    const ask = (host) => new SignIn(Store.inMemory(), server.info(), 'abcdefgh1', host, wallet.address, undefined, 'a browser');
    assert.throws(() => ask('evil.example'), { message: /not its own name, so nothing was signed/ });
    const asked = ask(HOST);
    assert.match(asked.text, new RegExp(`^${HOST} wants you to sign in .*:\n${wallet.address}\n`));
    const strangers = asked.body(new Wallet().sign(asked.text));
    assert.throws(() => server.signIn(strangers, 'abcdefgh1'), /somebody else signed/);
    const tokens = server.signIn(asked.body(wallet.sign(asked.text)), 'abcdefgh1');
    const device = asked.finish(`https://${HOST}`, tokens);
    assert.equal(device.account, JSON.parse(tokens).account);
    assert.equal(device.signRefresh('refresh').length, 64);
});

test('a device that was removed signs in with new keys, and keeps its history', () => {
    const server = new Server();
    const backend = new MapBackend();
    const wallet = new Wallet();
    const alice = Client.signIn(server);
    const before = Client.signIn(server, Store.openWithKey(backend, 'a random key'), wallet);
    alice.say(before, 'hello');
    before.receive();
    before.device.free();
    const ask = (store) => {
        const asked = new SignIn(store, server.info(), 'abcdefgh1', HOST, wallet.address, undefined, 'a browser');
        return [asked, server.signIn(asked.body(wallet.sign(asked.text)), 'abcdefgh1')];
    };
    const [same, known] = ask(Store.openWithKey(backend, 'a random key'));
    assert.equal(same.wasRemoved(known), false);
    const { text } = same;
    same.finish(`https://${HOST}`, known).free();
    server.remove(before.account, before.number);
    const [refused, useless] = ask(Store.openWithKey(backend, 'a random key'));
    assert.equal(refused.wasRemoved(useless), true);
    server.remove(before.account, JSON.parse(useless).device);
    const [renewed, tokens] = ask(refused.reset());
    assert.equal(renewed.wasRemoved(tokens), false);
    const identity = (text) => text.match(/urn:nepto:device:.+/)[0];
    assert.notEqual(identity(renewed.text), identity(text));
    const bob = new Client(server, renewed.finish(`https://${HOST}`, tokens));
    assert.deepEqual([bob.account, bob.number], [before.account, before.number + 2]);
    assert.deepEqual(bob.texts(alice), ['hello']);
});

test('two cores talk in both directions', () => {
    const { server, alice, bob } = friends();
    const expected = ['hello', 'hi'];
    for (let n = 0; n < 20; n++) {
        const [from, to] = n % 3 ? [alice, bob] : [bob, alice];
        from.say(to, `text ${n}`);
        to.receive();
        expected.push(`text ${n}`);
    }
    assert.deepEqual(alice.texts(bob), expected);
    assert.deepEqual(bob.texts(alice), expected);
    const sealed = server.sent.flatMap(({ toDevices }) => toDevices);
    const types = sealed.map(({ type }) => type);
    assert.equal(types[0], CiphertextType.CIPHERTEXT_TYPE_PREKEY, 'the first one sets the session up');
    assert.equal(types.at(-1), CiphertextType.CIPHERTEXT_TYPE_SESSION);
    assert.ok(sealed.every(({ ciphertext }) => !Buffer.from(ciphertext).includes('text ')), 'nobody else can read it');
    assert.ok(server.mailbox(alice.account, 1).length + server.mailbox(bob.account, 1).length === 0, 'all is acknowledged');
    const numbers = (of, peer) => JSON.parse(of.device.safetyNumbers(peer.account)).map(({ digits }) => digits);
    assert.equal(numbers(alice, bob)[0].length, 60);
    assert.deepEqual(numbers(alice, bob), numbers(bob, alice));
});

test('a second device hears both sides', () => {
    const server = new Server();
    const wallet = new Wallet();
    const bob = Client.signIn(server);
    const alice = Client.signIn(server, Store.inMemory(), wallet);
    const tablet = Client.signIn(server, Store.inMemory(), wallet);
    assert.equal(tablet.account, alice.account);
    alice.say(bob, 'from the desk');
    bob.receive();
    bob.device.accept(alice.account);
    bob.say(alice, 'to both');
    alice.receive();
    tablet.receive();
    assert.deepEqual(alice.texts(bob), ['from the desk', 'to both']);
    assert.deepEqual(tablet.texts(bob), ['from the desk', 'to both']);
});

test('a store is opened again in the middle of a conversation', () => {
    const backend = new MapBackend();
    let { server, alice, bob } = friends(backend);
    const needle = (bytes) => Buffer.from(bytes).includes('hello');
    assert.ok(backend.rows.size > 100 && ![...backend.rows.values()].some(needle), 'nothing at rest can be read');
    bob.device.free();
    assert.throws(() => Store.openWithKey(backend, 'another key'), { message: /passphrase of this profile is wrong/ });
    bob = new Client(server, Device.open(Store.openWithKey(backend, 'a random key')));
    alice.say(bob, 'still there?');
    bob.receive();
    bob.say(alice, 'yes');
    alice.receive();
    assert.deepEqual(alice.texts(bob), ['hello', 'hi', 'still there?', 'yes']);
    assert.deepEqual(bob.texts(alice), ['hello', 'hi', 'still there?', 'yes']);
});

test('what a frame used up is committed before it leaves', () => {
    const backend = new MapBackend();
    const { server, alice, bob } = friends(backend);
    bob.device.sendText(alice.account, 'once');
    backend.full = true;
    assert.throws(() => bob.device.prepare(), { message: /the disk is full/ });
    backend.full = false;
    backend.commits = [];
    const { frame } = bob.device.prepare();
    assert.ok(frame.length > 0);
    assert.equal(backend.commits.at(-1), true, 'durable when the frame is handed out');
    // the page is gone before it hears an answer; the one after it sends the same message, and it is there once
    server.frame(bob.account, bob.number, frame);
    bob.device.free();
    const again = new Client(server, Device.open(Store.openWithKey(backend, 'a random key')));
    again.send();
    alice.receive();
    assert.deepEqual(alice.texts(bob), ['hello', 'hi', 'once']);
});

test('a backend that promises to write later is refused', () => {
    class Later extends MapBackend {
        commit(batch, durable) {
            return Promise.resolve(super.commit(batch, durable));
        }
    }
    assert.throws(() => Store.openWithKey(new Later(), 'a random key'), { message: /must be done when it returns/ });
});

test('a malformed message is passed over and the next one is read', () => {
    const { server, alice, bob } = friends();
    const SignalMessage = protobuf.parse(`syntax = "proto2"; message SignalMessage {
        optional bytes ratchet_key = 1; optional uint32 counter = 2; optional uint32 previous_counter = 3;
        optional bytes ciphertext = 4; optional bytes pq_ratchet = 5; optional bytes addresses = 6;
    }`, { keepCase: true }).root.lookupType('SignalMessage');
    alice.say(bob, 'whole');
    const [{ envelope }] = server.mailbox(bob.account, bob.number);
    const [version, ...rest] = envelope.ciphertext;
    const message = SignalMessage.decode(Uint8Array.from(rest.slice(0, -8)));
    // the ratchet beneath would read past the end of this
    message.pq_ratchet = Uint8Array.of(1, 1, 1);
    const ciphertext = Uint8Array.from([version, ...SignalMessage.encode(message).finish(), ...rest.slice(-8)]);
    server.deliver(bob.account, bob.number, { ...envelope, ciphertext });
    alice.say(bob, 'after it');
    bob.receive();
    assert.deepEqual(bob.texts(alice).slice(-2), ['whole', 'after it']);
    assert.ok(bob.events.some(({ event, data }) => event === 'undecryptable' && /malformed/.test(data.reason)));
});
