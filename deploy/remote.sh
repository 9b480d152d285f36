#!/bin/sh
# Actions of install.sh and update.sh on a board, run as root: `sh -s -- ACTION ARGUMENTS`, with this file on standard input.
#
#   admit [update]               refuses a board that has the Debian package and, for an update, one without an installation
#   unpack FILE SHA256 RELEASE   checks a tarball and unpacks it beside the existing releases
#   bundle FILE SHA256 NAME      the same for a bundle
#   install RELEASE              creates the user and the settings
#   switch RELEASE [BUNDLE]      switches to a release, and to a bundle; rolls back if the device does not become healthy
#   health                       fails unless the device is healthy
#
# Releases are in /opt/astra-edge/releases, and the link /opt/astra-edge/current points to the one in use. Bundles are in
# /var/lib/astra-edge/bundles, and the link /var/lib/astra-edge/bundle points to the one in use.
set -eu

# Root's umask may be stricter, and the device's user has to read these files.
umask 022

# A connection that breaks during a switch must not stop the roll-back.
trap '' HUP PIPE

home=/opt/astra-edge
settings=/etc/astra-edge/device.toml
state=/var/lib/astra-edge
unit=/etc/systemd/system/astra-edge.service
# A device is ready within TimeoutStartSec, unless it waits for a network: that has no limit.
ready_within=11m
# Time for a ready device to be shown by `peers` on its own machine, and to find others.
seen_within=30s
found_within=30
# The process must still be the same after this many seconds.
settled_after=5

say() {
    echo "$*" || true
}

fail() {
    say "$*" >&2
    exit 1
}

check() {
    found=$(sha256sum "$1" | cut -d ' ' -f 1)
    if [ "$found" != "$2" ]; then
        fail "$1 arrived with SHA-256 $found, expected $2"
    fi
}

admit() {
    # shellcheck disable=SC2016  # dpkg-query expands it
    case $(dpkg-query --show --showformat '${db:Status-Status}' astra-edge 2>/dev/null) in
    '' | not-installed | config-files) ;;
    *) fail "the Debian package astra-edge is installed here: update it with apt, or remove it and run install.sh" ;;
    esac
    if [ "${1:-}" = update ] && [ ! -L $home/current ]; then
        fail "install.sh has never been here: run it for this board first"
    fi
}

# Checks FILE against SHA256 and unpacks it, with further options for tar, into FOLDER.new. Both are removed on exit.
stage() {
    file=$1 folder=$3
    trap 'rm -rf "$file" "$folder.new"' EXIT
    check "$file" "$2"
    shift 3
    rm -rf "$folder.new"
    mkdir -p "$folder.new"
    # Root would otherwise keep the permissions of the archive, set-user-ID bits included.
    tar --extract --no-same-owner --no-same-permissions --directory "$folder.new" --file "$file" "$@"
}

# Moves FOLDER.new into place. The files there may be damaged, and in use: each file is replaced atomically.
settle() {
    sync
    if [ ! -d "$folder" ]; then
        mv -T "$folder.new" "$folder"
    else
        cd "$folder.new"
        # shellcheck disable=SC2016  # the inner shell's variables
        find . -type d -exec sh -c 'for each; do mkdir -p "$0/$each" || exit; done' "$folder" {} +
        # shellcheck disable=SC2016
        find . ! -type d -exec sh -c 'for each; do mv -fT "$each" "$0/$each" || exit; done' "$folder" {} +
        cd /
    fi
    # Existing folders may have been made with a stricter umask.
    parent=$(dirname "$folder")
    chmod go+rx "$folder" "$parent" "$(dirname "$parent")"
    sync
}

unpack() {
    stage "$1" "$2" "$home/releases/$3" --gzip --strip-components=1
    # Detects another processor or a C library that is too old before the device is stopped. The output is checked because the shell
    # runs an empty file without an error.
    version=$("$folder.new/bin/astra-edge" --version 2>&1) || fail "the program does not run here: $version"
    case $version in
    "astra-edge "*) ;;
    *) fail "the program does not run here: it gives its version as \"$version\"" ;;
    esac
    settle
}

bundle() {
    if [ -d $state/bundle ] && [ ! -L $state/bundle ]; then
        rm -f "$1"
        fail "$state/bundle is a folder that no script put there; move it away"
    fi
    stage "$1" "$2" "$state/bundles/$3"
    settle
}

# Replaces a link atomically: it always exists.
point() {
    ln -sfn "$2" "$1.new" && mv -T "$1.new" "$1"
}

# Prints the base name of a link's target; nothing if there is no link.
pointed() {
    if [ -L "$1" ]; then
        basename "$(readlink "$1")"
    fi
}

install_service() {
    release=$home/releases/$1
    if ! getent passwd astra-edge >/dev/null; then
        useradd --system --user-group --no-create-home --home-dir $state --shell /usr/sbin/nologin astra-edge
    fi
    mkdir -p "$(dirname $settings)" $state /usr/local/bin
    if [ ! -e $settings ]; then
        cp "$release/etc/astra-edge/device.toml" $settings
    fi
    # A key in it is for the device alone.
    if grep -q '^[[:space:]]*key[[:space:]]*=' $settings; then
        chown root:astra-edge $settings
        chmod 640 $settings
    fi
    ln -sfn $home/current/bin/astra-edge /usr/local/bin/astra-edge
}

# Installs the release's unit, with the path of its program on this board.
service() {
    shipped=$1/lib/systemd/system/astra-edge.service
    sed "s,^ExecStart=/usr/bin/,ExecStart=$home/current/bin/," "$shipped" >$unit.new && mv $unit.new $unit || return
    mkdir -p $unit.d
    rm -f $unit.d/gpu.conf
    if [ -e "$shipped.d/gpu.conf" ]; then
        cp "$shipped.d/gpu.conf" $unit.d/ || return
    fi
    systemctl daemon-reload
}

# Prints how many other devices the device can use, from its status line.
others() {
    found=
    if systemctl is-active --quiet astra-edge; then
        found=$(systemctl show --property StatusText --value astra-edge | sed -n 's/.*; others it can use: \([0-9]*\)$/\1/p')
    fi
    echo "${found:-0}"
}

# Healthy: active, shown by `peers` on this machine, able to use other devices if it could before, and the same process a little later.
health() {
    first=$(systemctl show --property MainPID --value astra-edge)
    if ! systemctl is-active --quiet astra-edge; then
        say "the service is not active"
        return 1
    fi
    if ! $home/current/bin/astra-edge peers --config $settings --healthy --wait $seen_within >/dev/null; then
        return 1
    fi
    waited=0
    while [ $waited -lt $settled_after ] || { [ "${others_before:-0}" != 0 ] && [ "$(others)" = 0 ]; }; do
        if [ $waited -ge $found_within ]; then
            say "the device finds no other, and could use $others_before before"
            return 1
        fi
        sleep 1
        waited=$((waited + 1))
        if [ "$(systemctl show --property MainPID --value astra-edge)" != "$first" ]; then
            say "the device ended soon after it was ready"
            return 1
        fi
    done
}

# Joined by `&&`, because in a condition the shell ignores `set -e`.
use() {
    point $home/current "releases/$1" &&
        { [ -z "$2" ] || point $state/bundle "bundles/$2"; } &&
        service "$home/releases/$1" &&
        systemctl enable --quiet astra-edge &&
        { systemctl reset-failed astra-edge 2>/dev/null || true; } &&
        # systemctl waits until the device is ready, or has failed.
        timeout $ready_within systemctl restart astra-edge &&
        health
}

switch() {
    bundle=${2:-}
    admit
    since=$(date '+%Y-%m-%d %H:%M:%S')
    before=$(pointed $home/current)
    bundle_before=$(pointed $state/bundle)
    bundle=${bundle:-$bundle_before}
    # With another bundle it finds no others until they have that bundle too.
    if [ "$bundle" = "$bundle_before" ]; then
        others_before=$(others)
    fi
    if why=$(use "$1" "$bundle" 2>&1); then
        # If this release was in use already, the one to keep beside it is not known.
        [ "$1" = "$before" ] || prune $home/releases "$1" "$before"
        [ "$bundle" = "$bundle_before" ] || prune $state/bundles "$bundle" "$bundle_before"
        say "serves with $1"
        return
    fi
    why=$(say "$why" | tail -n 3 | tr '\n' ' ')
    # The device's log has the reason; systemctl's message does not.
    last=$(journalctl --unit astra-edge --since "$since" --lines 3 --no-pager --output cat 2>/dev/null | tr '\n' ' ' || true)
    why="$why$last"
    if [ "$before $bundle_before" = "$1 $bundle" ]; then
        fail "does not serve with $1, which was in use already: $why"
    fi
    if [ -z "$before" ]; then
        systemctl stop astra-edge || true
        fail "does not serve with $1, and there is nothing before it to go back to: $why"
    fi
    if use "$before" "$bundle_before" >/dev/null 2>&1; then
        [ "$1" = "$before" ] || rm -rf "$home/releases/$1"
        fail "does not serve with $1; serves with $before again: $why"
    fi
    fail "does not serve with $1, and not with $before either: $why"
}

# Removes all entries of a folder except two: the one in use and the previous one.
prune() {
    for folder in "$1"/*; do
        name=$(basename "$folder")
        if [ "$name" != "$2" ] && [ "$name" != "$3" ]; then
            rm -rf "$folder"
        fi
    done
}

action=$1
shift
case $action in
admit) admit "$@" ;;
unpack) unpack "$@" ;;
bundle) bundle "$@" ;;
install) install_service "$@" ;;
switch) switch "$@" ;;
health) health && say "serves" ;;
*) fail "unknown action $action" ;;
esac
