#!/bin/sh
# crun 1.8 refuses a hybrid host: shows it the v1 hierarchies alone, in a mount namespace of its own that ends with it.
#   crun-on-v1.sh COMMAND...   (run it through `unshare -m --propagation private`)
set -e
hierarchies=$(awk '$3 == "cgroup" { print $2 }' /proc/self/mounts)
hidden=$(mktemp -d)
mount -t tmpfs none "$hidden"
for hierarchy in $hierarchies; do
  mkdir -p "$hidden/$(basename "$hierarchy")"
  mount --bind "$hierarchy" "$hidden/$(basename "$hierarchy")"
done
mount --move "$hidden" /sys/fs/cgroup
rmdir "$hidden"
exec "$@"
