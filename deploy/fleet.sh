# Functions of install.sh and update.sh, which source this file.
# They are called in a condition, where bash ignores `set -e` and continues after a failed command: hence every `|| return`.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# A connection that breaks is given up after a minute.
ssh_options=(-o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4)
incoming=/opt/astra-edge/incoming

die() {
  echo "error: $*" >&2
  exit 1
}

# Prints the lines "HOST BOARD" of the fleet file; with --only, those of that host.
boards() {
  local host board rest
  # The last line may lack its newline.
  while read -r host board rest || [[ -n $host ]]; do
    [[ -z $host || $host == \#* ]] && continue
    [[ -n $board && -z $rest ]] || die "$fleet: \"$host $board $rest\": expected a host and a board"
    if [[ -n $only && $host != "$only" ]]; then continue; fi
    echo "$host $board"
  done <"${fleet:?}"
}

# Prints the newest tarball for a kind of board.
tarball_of() {
  local board=$1 folder=${packages:-$here/../target/boards/$1/package} found
  found=$(find "$folder" -maxdepth 1 -name "astra-edge-*-$board.tar.gz" -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -n 1)
  [[ -n $found ]] || die "no package of $board in $folder: run \`cargo xtask package --target $board\`"
  echo "${found#* }"
}

digest_of() {
  sha256sum "$1" | cut -d ' ' -f 1
}

# A release is named by version and digest, so the same package is the same release.
release_of() {
  local name
  name=$(basename "$1" .tar.gz)
  name=${name#astra-edge-}
  echo "$name-${2:0:12}"
}

# Runs a command line on a board as root.
as_root() {
  local host=$1 line=$2
  # shellcheck disable=SC2029  # the line is meant for the board's shell
  ssh "${ssh_options[@]}" "$host" "if [ \$(id -u) = 0 ]; then $line; else sudo -n $line; fi"
}

# Runs an action of remote.sh on a board.
remote() {
  local host=$1 words
  shift
  words=$(printf '%q ' "$@")
  as_root "$host" "sh -s -- $words" <"$here/remote.sh"
}

# Copies a file to a board. A file that did not arrive whole is removed there.
send() {
  local host=$1 file=$2 place=$incoming/$3 bytes
  bytes=$(stat --format %s "$file") || return
  as_root "$host" "sh -c 'trap : HUP; rm -rf $incoming; mkdir -p $incoming && cat >$place && [ \$(stat -c %s $place) = $bytes ] ||
    { rm -rf $incoming; echo $place did not arrive whole: expected $bytes bytes >&2; exit 1; }'" <"$file"
}

# Fails where the owner has a minisign key, deploy/minisign.pub, and a tarball is not signed with it.
check_signature() {
  local key=$here/minisign.pub why
  [[ -e $key ]] || return 0
  command -v minisign >/dev/null || { echo "$key is there, and minisign is not installed" >&2; return 1; }
  [[ -e $1.minisig ]] || { echo "$1: found no signature $1.minisig, expected one of $key" >&2; return 1; }
  why=$(minisign -V -q -p "$key" -m "$1" 2>&1) || { echo "$1: not signed with $key: $why" >&2; return 1; }
}

# Copies a board's package to it and unpacks it there; sets `release`.
deliver() {
  local host=$1 board=$2 tarball digest
  tarball=$(tarball_of "$board") || return
  check_signature "$tarball" || return
  digest=$(digest_of "$tarball") || return
  release=$(release_of "$tarball" "$digest")
  send "$host" "$tarball" "$release.tar.gz" || return
  remote "$host" unpack "$incoming/$release.tar.gz" "$digest" "$release"
}

# Runs a function for every board; stops after the first that fails, unless --keep-going was given.
for_each() {
  local work=$1 host board failed=() list
  list=$(boards)
  [[ -n $list ]] || die "$fleet: no board${only:+ $only}"
  # On descriptor 3, because ssh reads standard input.
  while read -r -u 3 host board; do
    if output=$("$work" "$host" "$board" 2>&1 </dev/null); then
      echo "$host: $output"
      continue
    fi
    echo "$host: failed: $output" >&2
    failed+=("$host")
    if [[ -z $keep_going ]]; then
      echo "the boards after $host were left as they are; --keep-going continues with them" >&2
      break
    fi
  done 3<<<"$list"
  ((${#failed[@]} == 0))
}
