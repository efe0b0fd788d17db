# Sourced by the scripts beside it: finds or installs what the checks need, and says what it installs.
# Everything but system packages lands under target/, so `cargo clean` removes it.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
tools=$root/target/tools
python=$tools/venv/bin/python

say() { printf '==> %s\n' "$*" >&2; }

# need COMMAND PACKAGE...: installs the Debian packages when the command is missing.
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null || packages "$@"
}

packages() {
    say "installing $* with apt-get"
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here: install $* yourself and run this again"
        return 1
    fi
    "${sudo[@]}" apt-get install -y "$@" >&2 || { "${sudo[@]}" apt-get update >&2 && "${sudo[@]}" apt-get install -y "$@" >&2; }
}

# A file that names pinned versions is the key: a changed pin installs again.
installed() { cmp -s "$1" "$2"; }

python_tools() {
    local pins=$root/gateway/tests/clients/requirements.txt
    installed "$pins" "$tools/venv/pins" && return
    need python3 python3 python3-venv
    say "installing $(tr '\n' ' ' <"$pins")into target/tools/venv"
    # Debian's python3 comes without the module that gives a venv its pip.
    python3 -c 'import ensurepip' 2>/dev/null || need python3-ensurepip python3-venv
    rm -rf "$tools/venv"
    python3 -m venv "$tools/venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$pins"
    cp "$pins" "$tools/venv/pins"
}

node_tools() {
    local pins=$root/gateway/tests/clients/package.json
    export NODE_PATH=$tools/node/node_modules
    installed "$pins" "$tools/node/pins" && return
    need node nodejs
    need npm npm
    say "installing the packages of gateway/tests/clients/package.json into target/tools/node"
    mkdir -p "$tools/node"
    cp "$pins" "$tools/node/package.json"
    (cd "$tools/node" && npm install --no-audit --no-fund --loglevel=error >&2)
    cp "$pins" "$tools/node/pins"
}

# uWebSockets for Node.js, as a package of the registry: its own releases are not in it.
uws_tools() {
    local package=@trufflesuite/uws-js-unofficial@20.30.0-unofficial.0
    export NODE_PATH=$tools/uws/node_modules
    [ "$(cat "$tools/uws/pins" 2>/dev/null)" = "$package" ] && return
    need node nodejs
    need npm npm
    say "installing $package into target/tools/uws"
    mkdir -p "$tools/uws"
    (cd "$tools/uws" && npm install --no-audit --no-fund --loglevel=error --omit=optional --ignore-scripts "$package" >&2)
    printf '%s' "$package" >"$tools/uws/pins"
}

# programs: GATEWAY_BIN and LOADGEN_BIN, built unless both are given. PROFILE is release or dev.
programs() {
    export RUST_LOG=${RUST_LOG:-warn}
    [ -z "${GATEWAY_BIN:-}" ] || [ -z "${LOADGEN_BIN:-}" ] || return 0
    local profile=${PROFILE:-release}
    (cd "$root" && cargo build --locked --profile "$profile" --package gateway --package loadgen --bin gateway --bin loadgen)
    export GATEWAY_BIN=$(built gateway) LOADGEN_BIN=$(built loadgen)
}

# built NAME: where cargo puts it with PROFILE.
built() {
    local profile=${PROFILE:-release}
    printf '%s\n' "${CARGO_TARGET_DIR:-$root/target}/${profile/#dev/debug}/$1"
}
