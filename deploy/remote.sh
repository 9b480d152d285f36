#!/bin/sh
# What install.sh and update.sh run on a board, as root: `sh -s -- ACTION ARGUMENTS`, with this file on standard input.
#
#   admit [update]               refuses a board that has the Debian package and, for an update, one that is no device yet
#   unpack FILE SHA256 RELEASE   checks a tarball and unpacks it beside the releases that are there
#   bundle FILE SHA256 NAME      the same for a bundle
#   install RELEASE              puts the service, its user and its settings in place
#   switch RELEASE [BUNDLE]      makes a release, and a bundle, those in use; goes back to those before if it does not serve
#   health                       whether the device serves
#
# Releases lie in /opt/astra-edge/releases, and the link /opt/astra-edge/current points at the one in use; bundles lie in
# /var/lib/astra-edge/bundles, and the link /var/lib/astra-edge/bundle points at the one in use.
set -eu

# Root's own may be stricter, and the device's user has to read what is put here.
umask 022

# The connection may go in the middle of a switch; going back must not stop with it.
trap '' HUP PIPE

home=/opt/astra-edge
settings=/etc/astra-edge/device.toml
state=/var/lib/astra-edge
unit=/etc/systemd/system/astra-edge.service
# A device gets ready within TimeoutStartSec, unless it waits for a network for as long as there is none.
ready_within=11m
# Time for a device that is ready to be seen by itself, and to find others.
seen_within=30s
found_within=30
# A program that ends soon after it was ready is not one to keep.
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
    # shellcheck disable=SC2016  # a format of dpkg's
    case $(dpkg-query --show --showformat '${db:Status-Status}' astra-edge 2>/dev/null) in
    '' | not-installed | config-files) ;;
    *) fail "the Debian package astra-edge is installed here: update it with apt, or remove it and run install.sh" ;;
    esac
    if [ "${1:-}" = update ] && [ ! -L $home/current ]; then
        fail "install.sh has never been here: run it for this board first"
    fi
}

# Unpacks a file, with more options for tar, into FOLDER.new. Nothing of it stays there in the end.
stage() {
    file=$1 folder=$3
    trap 'rm -rf "$file" "$folder.new"' EXIT
    check "$file" "$2"
    shift 3
    rm -rf "$folder.new"
    mkdir -p "$folder.new"
    tar --extract --no-same-owner --directory "$folder.new" --file "$file" "$@"
}

# Puts what is staged in its place. What lies there may be damaged, and in use: each file is replaced in one step.
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
    # Folders that are there already may be from before this file had a umask.
    parent=$(dirname "$folder")
    chmod go+rx "$folder" "$parent" "$(dirname "$parent")"
    sync
}

unpack() {
    stage "$1" "$2" "$home/releases/$3" --gzip --strip-components=1
    # The wrong processor, a C library that is too old: better seen now than by a device that is gone. The shell runs an empty file, too.
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

# A link is replaced in one step: there is no moment without one.
point() {
    ln -sfn "$2" "$1.new" && mv -T "$1.new" "$1"
}

# What a link points at, without its folder; nothing if there is no link.
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
    ln -sfn $home/current/bin/astra-edge /usr/local/bin/astra-edge
}

# The release's own unit, for the program where it lies here.
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

# Other devices that the device says it can use.
others() {
    found=
    if systemctl is-active --quiet astra-edge; then
        found=$(systemctl show --property StatusText --value astra-edge | sed -n 's/.*; others it can use: \([0-9]*\)$/\1/p')
    fi
    echo "${found:-0}"
}

# Ready, seen from its own machine, with others if it had some before, and still the same process a little later.
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

# Steps that follow from one another: in a condition the shell goes on after one that failed.
use() {
    point $home/current "releases/$1" &&
        { [ -z "$2" ] || point $state/bundle "bundles/$2"; } &&
        service "$home/releases/$1" &&
        systemctl enable --quiet astra-edge &&
        { systemctl reset-failed astra-edge 2>/dev/null || true; } &&
        # The service manager waits until the device is ready, or gives up on it.
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
    # With another bundle it is alone until others have it too.
    if [ "$bundle" = "$bundle_before" ]; then
        others_before=$(others)
    fi
    if why=$(use "$1" "$bundle" 2>&1); then
        # What was in use already says nothing of what was before it.
        [ "$1" = "$before" ] || prune $home/releases "$1" "$before"
        [ "$bundle" = "$bundle_before" ] || prune $state/bundles "$bundle" "$bundle_before"
        say "serves with $1"
        return
    fi
    why=$(say "$why" | tail -n 3 | tr '\n' ' ')
    # The device's own last words say more than the service manager's.
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

# What is in use and what was before it stay.
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
*) fail "no action $action" ;;
esac
