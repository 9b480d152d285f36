#!/usr/bin/env bash
# Updates boards to the newest package, one after another, and rolls a board back if its device does not become healthy.
set -euo pipefail
# shellcheck source=deploy/fleet.sh
source "$(dirname "$0")/fleet.sh"

usage() {
  cat <<END
usage: deploy/update.sh FLEET [--packages DIR] [--only HOST] [--keep-going] [--check]

For every board of the file FLEET, in order: copies the package of its kind over ssh, checks its SHA-256 there, runs the program
once, switches to it, restarts the service, and waits until the device is ready, \`astra-edge peers\` on the board shows it, and it can
use another device if it could before. If one of these steps fails, the board goes back to the previous release, and the boards after
it are left as they are.

  --packages DIR   where the tarballs are (default: where \`cargo xtask package\` puts them)
  --only HOST      only this board of the fleet
  --keep-going     continue with the other boards after a failure
  --check          change nothing; tell whether every device is healthy
END
}

fleet='' packages='' only='' keep_going='' check=''
while (($#)); do
  case $1 in
  --packages | --only)
    (($# > 1)) || die "$1: expected a value"
    printf -v "${1#--}" %s "$2"
    shift
    ;;
  --keep-going) keep_going=yes ;;
  --check) check=yes ;;
  -h | --help) usage && exit ;;
  -*) die "unknown option $1; see --help" ;;
  *) [[ -z $fleet ]] || die "found two fleets, $fleet and $1, expected one"; fleet=$1 ;;
  esac
  shift
done
[[ -n $fleet ]] || { usage >&2; exit 2; }
[[ -r $fleet ]] || die "cannot read $fleet"

update_board() {
  remote "$1" admit update || return
  deliver "$1" "$2" || return
  remote "$1" switch "$release"
}

check_board() {
  remote "$1" admit update || return
  remote "$1" health
}

if [[ -n $check ]]; then
  keep_going=yes
  for_each check_board
else
  for_each update_board
fi
