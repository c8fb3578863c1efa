// A wallet as browsers have them: it shows a text and signs it (EIP-191), in code that is none of ours.
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { keccak_256 } from '@noble/hashes/sha3.js';
import { bytesToHex, concatBytes, utf8ToBytes } from '@noble/hashes/utils.js';

/** EIP-55. */
function checksummed(address) {
    const digits = bytesToHex(address);
    const hash = bytesToHex(keccak_256(utf8ToBytes(digits)));
    return '0x' + [...digits].map((digit, n) => (parseInt(hash[n], 16) > 7 ? digit.toUpperCase() : digit)).join('');
}

function addressOf(publicKey) {
    return checksummed(keccak_256(secp256k1.Point.fromBytes(publicKey).toBytes(false).slice(1)).slice(12));
}

function hashed(text) {
    const bytes = utf8ToBytes(text);
    return keccak_256(concatBytes(utf8ToBytes(`\x19Ethereum Signed Message:\n${bytes.length}`), bytes));
}

export class Wallet {
    #key = secp256k1.utils.randomSecretKey();

    get address() {
        return addressOf(secp256k1.getPublicKey(this.#key));
    }

    /** 65 bytes: r, s, v. */
    sign(text) {
        const [recovery, ...rs] = secp256k1.sign(hashed(text), this.#key, { prehash: false, format: 'recovered' });
        return Uint8Array.from([...rs, 27 + recovery]);
    }
}

/** Who signed a text. */
export function signerOf(text, signature) {
    const recovered = Uint8Array.from([signature[64] - 27, ...signature.slice(0, 64)]);
    return addressOf(secp256k1.recoverPublicKey(recovered, hashed(text), { prehash: false }));
}
