#!/bin/sh
# What install.sh and update.sh run on a board, as root: `sh -s -- ACTION ARGUMENTS`, with this file on standard input.
#
#   unpack FILE SHA256 RELEASE   checks a tarball and unpacks it beside the releases that are there
#   bundle FILE SHA256 NAME      the same for a bundle
#   install RELEASE              puts the service, its user and its settings in place
#   switch RELEASE [BUNDLE]      makes a release, and a bundle, those in use; goes back to those before if it does not serve
#   health                       whether the device serves
#
# Releases lie in /opt/astra-edge/releases, and the link /opt/astra-edge/current points at the one in use; bundles lie in
# /var/lib/astra-edge/bundles, and the link /var/lib/astra-edge/bundle points at the one in use.
set -eu

# The connection may go in the middle of a switch; going back must not stop with it.
trap '' HUP PIPE

home=/opt/astra-edge
settings=/etc/astra-edge/device.toml
state=/var/lib/astra-edge
unit=/etc/systemd/system/astra-edge.service
# Time for a device that is ready to be seen by itself.
seen_within=30s
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
        rm -f "$1"
        fail "$1 arrived with SHA-256 $found, expected $2"
    fi
}

unpack() {
    file=$1 release=$home/releases/$3
    check "$file" "$2"
    if [ ! -d "$release" ]; then
        rm -rf "$release.new"
        mkdir -p "$release.new"
        tar --extract --gzip --strip-components=1 --no-same-owner --directory "$release.new" --file "$file"
        mv "$release.new" "$release"
    fi
    rm -f "$file"
    # The wrong processor, a C library that is too old: better seen now than by a device that is gone.
    if ! version=$("$release/bin/astra-edge" --version 2>&1); then
        rm -rf "$release"
        fail "the program does not run here: $version"
    fi
}

bundle() {
    file=$1 folder=$state/bundles/$3
    check "$file" "$2"
    if [ ! -d "$folder" ]; then
        rm -rf "$folder.new"
        mkdir -p "$folder.new"
        tar --extract --no-same-owner --directory "$folder.new" --file "$file"
        mv "$folder.new" "$folder"
    fi
    rm -f "$file"
    if [ -d $state/bundle ] && [ ! -L $state/bundle ]; then
        fail "$state/bundle is a folder that no script put there; move it away"
    fi
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
    if dpkg-query --show --showformat '${db:Status-Status}' astra-edge 2>/dev/null | grep -qx installed; then
        fail "the Debian package astra-edge is installed here: update with apt, or remove it first"
    fi
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
    sed "s,^ExecStart=/usr/bin/,ExecStart=$home/current/bin/," "$shipped" >$unit || return
    mkdir -p $unit.d
    rm -f $unit.d/gpu.conf
    if [ -e "$shipped.d/gpu.conf" ]; then
        cp "$shipped.d/gpu.conf" $unit.d/ || return
    fi
    systemctl daemon-reload
}

# Ready, seen by its cluster, and still the same process a little later.
health() {
    first=$(systemctl show --property MainPID --value astra-edge)
    if ! systemctl is-active --quiet astra-edge; then
        say "the service is not active"
        return 1
    fi
    if ! $home/current/bin/astra-edge peers --config $settings --healthy --wait $seen_within >/dev/null; then
        return 1
    fi
    sleep $settled_after
    if [ "$(systemctl show --property MainPID --value astra-edge)" != "$first" ]; then
        say "the device ended soon after it was ready"
        return 1
    fi
}

# Steps that follow from one another: in a condition the shell goes on after one that failed.
use() {
    point $home/current "releases/$1" &&
        { [ -z "$2" ] || point $state/bundle "bundles/$2"; } &&
        service "$home/releases/$1" &&
        systemctl enable --quiet astra-edge &&
        { systemctl reset-failed astra-edge 2>/dev/null || true; } &&
        # The service manager waits until the device is ready, or gives up on it.
        systemctl restart astra-edge &&
        health
}

switch() {
    bundle=${2:-}
    since=$(date '+%Y-%m-%d %H:%M:%S')
    before=$(pointed $home/current)
    bundle_before=$(pointed $state/bundle)
    if why=$(use "$1" "$bundle" 2>&1); then
        prune $home/releases "$1" "$before"
        prune $state/bundles "$(pointed $state/bundle)" "$bundle_before"
        say "serves with $1"
        return
    fi
    why=$(say "$why" | tail -n 3 | tr '\n' ' ')
    # The device's own last words say more than the service manager's.
    last=$(journalctl --unit astra-edge --since "$since" --lines 3 --no-pager --output cat 2>/dev/null | tr '\n' ' ' || true)
    why="$why$last"
    if [ -z "$before" ] || [ "$before $bundle_before" = "$1 ${bundle:-$bundle_before}" ]; then
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
unpack) unpack "$@" ;;
bundle) bundle "$@" ;;
install) install_service "$@" ;;
switch) switch "$@" ;;
health) health && say "serves" ;;
*) fail "no action $action" ;;
esac
