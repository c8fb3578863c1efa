#!/bin/bash
# Two people sign in and talk. Run again, they go on where they were.
set -euo pipefail

server=http://localhost:${NEPTO_PORT:-8080}
export NEPTO_PASSPHRASE_FILE=/people/passphrase
umask 077
echo "a passphrase for show" > "$NEPTO_PASSPHRASE_FILE"

as() {
    local who=$1
    shift
    echo "\$ nepto --profile $who $*"
    nepto --profile "/people/$who" "$@" | sed 's/^/  /'
}

for who in demo_alice demo_bob; do
    wallet=/people/$who.wallet.json
    if [ -e "$wallet" ]; then flag=--keystore; else flag=--new-keystore; fi
    as $who login --server "$server" $flag "$wallet" --keystore-password-file "$NEPTO_PASSPHRASE_FILE"
    as $who profile --handle $who
done
as demo_alice send @demo_bob "gm! this was encrypted before it left me"
as demo_bob inbox --wait 30 | tee /tmp/heard
grep -q "encrypted before it left me" /tmp/heard
as demo_bob contacts accept @demo_alice
as demo_bob send @demo_alice "gm to you"
as demo_alice inbox --wait 30 | tee /tmp/heard
grep -q "gm to you" /tmp/heard
echo
echo "They talk. Go on: docker compose --profile dev run --rm demo bash, then nepto --profile /people/demo_alice chat @demo_bob"
