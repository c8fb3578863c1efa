# Two people sign in, one writes, the other reads. Run with PROGRAM, SERVER, FOLDER and SIGNS_IN.
set -eu
umask 077
text="self-check $(date -u +%FT%TZ)"

person() {
    who=$1
    shift
    "$PROGRAM" --profile "$FOLDER/$who" --passphrase-file "$FOLDER/passphrase" "$@"
}

for who in one two; do
    wallet="$FOLDER/$who.wallet.json"
    if [ -n "$SIGNS_IN" ]; then
        if [ -e "$wallet" ]; then kept=--keystore; else kept=--new-keystore; fi
        person "$who" login --server "$SERVER" "$kept" "$wallet" --keystore-password-file "$FOLDER/passphrase" >&2
    fi
done
two=$(person two whoami --json | sed -n 's/.*"wallet":"\([^"]*\)".*/\1/p')
one=$(person one whoami --json | sed -n 's/.*"wallet":"\([^"]*\)".*/\1/p')
echo "signed in: $one and $two"
# who is accepted may write as often as there are runs
person two contacts accept "$one" >&2 2>&1 || true
person one send "$two" "$text" --timeout 30 >&2
echo "sent: $text"
person two inbox --wait 30 | grep -F "$text" > /dev/null || { echo "the message did not arrive: $text" >&2; exit 1; }
echo "received it"
