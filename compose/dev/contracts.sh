#!/bin/bash
# Deploys the contracts of nepto.toml, unless they are there. On a new chain their addresses are always the same.
set -euo pipefail

rpc=http://chain:8545
# the first account of every anvil, whose key is public
owner=0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266
token=0x5FbDB2315678afecb367f032d93F642f64180aa3

code() {
    node -e '
        const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_getCode", params: [process.argv[2], "latest"] });
        fetch(process.argv[1], { method: "POST", headers: { "content-type": "application/json" }, body })
            .then((answer) => answer.json()).then(({ result }) => console.log(result));
    ' "$rpc" "$token"
}

if [ "$(code)" != 0x ]; then
    echo "the contracts are there"
    exit
fi
cd /contracts
NEPTO_OWNER=$owner forge script script/Deploy.s.sol --sender "$owner" --unlocked --broadcast --slow --rpc-url "$rpc"
if [ "$(code)" = 0x ]; then
    echo "the contracts have other addresses than compose/dev/nepto.toml says: begin with a new chain (docker volume rm nepto_chain)" >&2
    exit 1
fi
