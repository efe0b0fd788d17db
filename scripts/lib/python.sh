# Sourced by the commands above: everything is Python.
lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ! command -v python3 >/dev/null; then
    echo "==> installing python3 with apt-get" >&2
    sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update >&2 && "${sudo[@]}" apt-get install -y python3 >&2
fi
export PYTHONDONTWRITEBYTECODE=1
