# What install.sh and update.sh share; read by them, not run.
# They run the work on one board in a condition, where bash goes on after a command that failed: hence every `|| return`.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# A board that goes in the middle is given up after a minute.
ssh_options=(-o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4)
incoming=/opt/astra-edge/incoming

die() {
  echo "error: $*" >&2
  exit 1
}

# Lines "HOST BOARD" of the fleet file, those of --only alone if it was given.
boards() {
  local host board rest
  # Editors may leave the last line without its end.
  while read -r host board rest || [[ -n $host ]]; do
    [[ -z $host || $host == \#* ]] && continue
    [[ -n $board && -z $rest ]] || die "$fleet: \"$host $board $rest\": expected a host and a board"
    if [[ -n $only && $host != "$only" ]]; then continue; fi
    echo "$host $board"
  done <"${fleet:?}"
}

# The newest tarball of a board.
tarball_of() {
  local board=$1 folder=${packages:-$here/../target/boards/$1/package} found
  found=$(find "$folder" -maxdepth 1 -name "astra-edge-*-$board.tar.gz" -printf '%T@ %p\n' 2>/dev/null | sort -n | tail -n 1)
  [[ -n $found ]] || die "no package of $board in $folder: run \`cargo xtask package --target $board\`"
  echo "${found#* }"
}

digest_of() {
  sha256sum "$1" | cut -d ' ' -f 1
}

# Version and contents name a release: the same package is the same release.
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

# Sends a file to a board, where nothing of one that did not come whole stays.
send() {
  local host=$1 file=$2 place=$incoming/$3 bytes
  bytes=$(stat --format %s "$file") || return
  as_root "$host" "sh -c 'trap : HUP; rm -rf $incoming; mkdir -p $incoming && cat >$place && [ \$(stat -c %s $place) = $bytes ] ||
    { rm -rf $incoming; echo $place did not arrive whole: expected $bytes bytes >&2; exit 1; }'" <"$file"
}

# Sends a board its package and unpacks it there; sets `release`.
deliver() {
  local host=$1 board=$2 tarball digest
  tarball=$(tarball_of "$board") || return
  digest=$(digest_of "$tarball") || return
  release=$(release_of "$tarball" "$digest")
  send "$host" "$tarball" "$release.tar.gz" || return
  remote "$host" unpack "$incoming/$release.tar.gz" "$digest" "$release"
}

# Runs a function for every board; the first that fails is the last that is tried, unless --keep-going was given.
for_each() {
  local work=$1 host board failed=() list
  list=$(boards)
  [[ -n $list ]] || die "$fleet: no board${only:+ $only}"
  # Not on standard input, which ssh reads.
  while read -r -u 3 host board; do
    if said=$("$work" "$host" "$board" 2>&1 </dev/null); then
      echo "$host: $said"
      continue
    fi
    echo "$host: failed: $said" >&2
    failed+=("$host")
    if [[ -z $keep_going ]]; then
      echo "the boards after $host were left as they are; --keep-going goes on" >&2
      break
    fi
  done 3<<<"$list"
  ((${#failed[@]} == 0))
}
