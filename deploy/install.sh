#!/usr/bin/env bash
# Makes boards devices: copies the package and a bundle to each, and starts the service.
set -euo pipefail
# shellcheck source=deploy/fleet.sh
source "$(dirname "$0")/fleet.sh"

usage() {
  cat <<END
usage: deploy/install.sh FLEET --bundle DIR [--packages DIR] [--only HOST] [--keep-going]

Makes every board of the file FLEET a device (deploy/fleet.conf is an example): copies the package of its kind over ssh, checks its
SHA-256 there, copies the bundle, installs and starts the service, and waits until the device is ready and \`astra-edge peers\` on the
board shows it. Existing settings are kept. Run it again with another bundle to change the bundle.

  --bundle DIR     the exported model; optional for boards that have one already
  --packages DIR   where the tarballs are (default: where \`cargo xtask package\` puts them)
  --only HOST      only this board of the fleet
  --keep-going     continue with the other boards after a failure
END
}

fleet='' bundle='' packages='' only='' keep_going=''
while (($#)); do
  case $1 in
  --bundle | --packages | --only)
    (($# > 1)) || die "$1: expected a value"
    printf -v "${1#--}" %s "$2"
    shift
    ;;
  --keep-going) keep_going=yes ;;
  -h | --help) usage && exit ;;
  -*) die "unknown option $1; see --help" ;;
  *) [[ -z $fleet ]] || die "found two fleets, $fleet and $1, expected one"; fleet=$1 ;;
  esac
  shift
done
[[ -n $fleet ]] || { usage >&2; exit 2; }
[[ -r $fleet ]] || die "cannot read $fleet"

packed='' bundle_name=''
if [[ -n $bundle ]]; then
  [[ -r $bundle/manifest.json ]] || die "$bundle: found no manifest.json, expected the directory of a bundle"
  packed=$(mktemp)
  trap 'rm -f "$packed"' EXIT
  tar --create --file "$packed" --directory "$bundle" --mode=u+rwX,go=rX .
  bundle_digest=$(digest_of "$packed")
  # The manifest holds the digests of all other files.
  bundle_name=$(digest_of "$bundle/manifest.json")
  bundle_name=${bundle_name:0:12}
fi

install_board() {
  local host=$1 board=$2
  remote "$host" admit || return
  deliver "$host" "$board" || return
  remote "$host" install "$release" || return
  if [[ -n $packed ]]; then
    send "$host" "$packed" "$bundle_name.tar" || return
    remote "$host" bundle "$incoming/$bundle_name.tar" "$bundle_digest" "$bundle_name" || return
  fi
  remote "$host" switch "$release" "$bundle_name"
}

for_each install_board
