#!/bin/sh
# Stands for ssh: runs a command line in the throw-away root of a host. The root has this machine's programs, read-only, and
# folders of its own for everything that is written. Options are those of the scripts, and of no use here.
set -eu
roots=$(dirname "$0")/../roots
while [ "$1" = -o ]; do
    shift 2
done
root=$roots/$1
line=$2
[ -d "$root" ] || {
    echo "ssh: no host $1" >&2
    exit 255
}
# A file that is damaged on its way, where the trial asks for one.
damage='cat'
if [ -e "$root/damaged" ] && [ "${line#*cat >}" != "$line" ]; then
    damage=$(cat "$root/damaged")
fi
# Root's own may be this strict.
umask 077
# shellcheck disable=SC2016  # the inner shell's variables
$damage | unshare --mount sh -c '
    for folder in usr bin sbin lib lib64; do
        [ ! -L "$0/$folder" ] && [ -d "$0/$folder" ] || continue
        mount --bind "/$folder" "$0/$folder"
        mount -o remount,bind,ro "$0/$folder"
    done
    mount --bind "$0/local" "$0/usr/local"
    mount --bind "$0/systemctl" "$0/usr/bin/systemctl"
    mount --rbind /dev "$0/dev"
    mount --rbind /proc "$0/proc"
    exec chroot "$0" /bin/sh -c "$1"
' "$root" "$line"
