#!/usr/bin/env bash
# Builds a release and tries it: the package is installed in a fresh Debian system, used by an
# ordinary user and by mount(8), and removed again; the program in the image runs as process 1.
# As root. The fresh system is kept in build/debian.tar.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
version=v0.0.0-test
[ "$(id -u)" = 0 ] || { echo "test-package: must be run by root, who can make a system to install in" >&2; exit 1; }

scripts/release.sh "$version" >/dev/null
out=$root/build/release/$version
(cd "$out" && sha256sum --quiet -c SHA256SUMS)

[ -e build/debian.tar ] || {
	mmdebstrap --quiet --format=tar --variant=minbase bookworm build/debian.tar.part
	mv build/debian.tar.part build/debian.tar
}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/package.XXXXXX")
trap 'rm -rf --one-file-system "$tmp"' EXIT
mkdir "$tmp/debian" "$tmp/image"
tar -C "$tmp/debian" -xf build/debian.tar --exclude './dev/*'
cp "$out"/workdir_*_amd64.deb "$tmp/debian/workdir.deb"

# What runs in the fresh system.
cat >"$tmp/debian/try.sh" <<'TRY'
set -eux
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/
apt-get update -qq
apt-get install -y -qq --no-install-recommends /workdir.deb >/dev/null
workdir-mount --version | grep v0.0.0-test
test -e /usr/share/man/man1/workdir-mount-exec.1.gz -a -e /usr/share/man/man8/mount.workdir.8.gz

: an ordinary user, twice
ln -sf ../proc/self/mounts /etc/mtab # as in every system that runs; fusermount3 reads it
useradd --create-home ann
user() { setpriv --reuid ann --regid ann --init-groups env HOME=/home/ann "$@"; }
user workdir-mount exec file:///tmp/ws/a -- sh -c 'date >d'
user workdir-mount exec file:///tmp/ws/a -- grep : d

: mount and umount
mkdir /mnt/work
mount -t workdir file:///tmp/ws/a /mnt/work -o commit,max-bytes=64MiB,noauto,_netdev
grep ' /mnt/work ' /proc/self/mounts
echo more >/mnt/work/more
umount /mnt/work
mount -t workdir file:///tmp/ws/a /mnt/work -o ro
grep more /mnt/work/more
if echo no >/mnt/work/more; then exit 1; fi
umount /mnt/work
echo 'file:///tmp/ws/a /mnt/work workdir ro,noauto 0 0' >>/etc/fstab
mount /mnt/work
umount /mnt/work
if mount -t workdir file:///tmp/ws/a /mnt/work -o nosuchoption; then exit 1; fi
workdir-mount verify file:///tmp/ws/a

: and off again
apt-get purge -y -qq workdir >/dev/null
for path in /usr/bin/workdir-mount /usr/sbin/mount.workdir /usr/sbin/umount.fuse.workdir /usr/share/doc/workdir /etc/workdir; do
	test ! -e "$path"
done
TRY

# inside DIR COMMAND...: runs in a root of its own, with processes and mounts of its own.
inside() {
	local dir=$1
	shift
	unshare -mpf --kill-child bash -euo pipefail -c '
		dir=$1; shift
		mkdir -p "$dir/proc" "$dir/dev" "$dir/tmp"
		mount -t tmpfs none "$dir/dev"
		for node in null zero urandom random fuse; do touch "$dir/dev/$node"; mount --bind "/dev/$node" "$dir/dev/$node"; done
		mount -t proc none "$dir/proc"
		exec chroot "$dir" "$@"' inside "$dir" "$@"
}
cp /etc/resolv.conf "$tmp/debian/etc/" 2>/dev/null || true
chmod 1777 "$tmp/debian/tmp"
inside "$tmp/debian" sh /try.sh >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; echo "test-package: the package is not as it should be" >&2; exit 1; }
echo "package: installed, used, removed"

# The image: its digests, and the program as process 1, with nothing else there.
python3 - "$out/workdir-image.tar" "$tmp/image" <<'PY'
import hashlib, io, json, sys, tarfile
layout = tarfile.open(sys.argv[1])
def blob(d):
    b = layout.extractfile("blobs/sha256/" + d["digest"].split(":")[1]).read()
    assert len(b) == d["size"] and "sha256:" + hashlib.sha256(b).hexdigest() == d["digest"], d
    return b
[index] = json.load(layout.extractfile("index.json"))["manifests"]
platforms = {}
for m in json.loads(blob(index))["manifests"]:
    manifest = json.loads(blob(m))
    config = json.loads(blob(manifest["config"]))
    [layer] = manifest["layers"]
    content = __import__("gzip").decompress(blob(layer))
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(content).hexdigest()]
    platforms[m["platform"]["architecture"]] = content
assert sorted(platforms) == ["amd64", "arm64"], platforms.keys()
tarfile.open(fileobj=io.BytesIO(platforms["amd64"])).extractall(sys.argv[2])
PY
inside "$tmp/image" /usr/bin/workdir-mount exec /tmp/ws/a -- /usr/bin/workdir-mount man-pages .
inside "$tmp/image" /usr/bin/workdir-mount cat /tmp/ws/a workdir-mount.1 | grep -q '^\.SH "NAME"'
echo "image: runs as process 1"
