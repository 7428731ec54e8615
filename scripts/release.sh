#!/usr/bin/env bash
# Builds a release of the tree as it is: static programs for linux/amd64 and linux/arm64,
# Debian packages, a container image for both, a bill of materials, licences and checksums,
# all in build/release/VERSION. Equal trees, versions and certificates make equal files.
# Usage: scripts/release.sh VERSION    such as v1.2.3
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=${1:?usage: scripts/release.sh VERSION}
if ! [[ $VERSION =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]]; then
	echo "release: $VERSION is no version; write for example v1.2.3" >&2
	exit 1
fi
tools=$PWD/build/tools/bin
out=build/release/$VERSION
rm -rf "$out"
mkdir -p "$out/share/man1" "$out/share/man8"

# The time in packages is that of the commit.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

flags="-s -w -X github.com/workdir/workdir/internal/version.release=$VERSION"
for arch in amd64 arm64; do
	echo "building for linux/$arch" >&2
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch go build -trimpath -buildvcs=false -ldflags "$flags" -o "$out/workdir-mount-linux-$arch" ./cmd/workdir-mount
done
program=$out/workdir-mount-linux-$(go env GOHOSTARCH)
[ "$("$program" --version | cut -d' ' -f2)" = "$VERSION" ] || { echo "release: the program is not of version $VERSION" >&2; exit 1; }

scripts/licenses.sh >"$out/LICENSES.txt"
"$program" man-pages "$out/share/man1"
cp packaging/mount.workdir.8 "$out/share/man8"
echo ".so man8/mount.workdir.8" >"$out/share/man8/umount.fuse.workdir.8"
gzip -9n "$out"/share/man*/*
for shell in bash zsh fish; do "$program" completion "$shell" >"$out/share/completion.$shell"; done

for arch in amd64 arm64; do
	sed -e "s|\${OUT}|$out|; s|\${ARCH}|$arch|; s|\${VERSION}|$VERSION|" packaging/nfpm.yaml >"$out/share/nfpm.yaml"
	"$tools/nfpm" package --config "$out/share/nfpm.yaml" --packager deb --target "$out" >/dev/null
done
go run ./packaging/image -version "$VERSION" -out "$out/workdir-image.tar" amd64="$out/workdir-mount-linux-amd64" arm64="$out/workdir-mount-linux-arm64"
"$tools/cyclonedx-gomod" bin -json -noserial -licenses -output "$out/sbom.cdx.json" -version "$VERSION" "$program" 2>/dev/null
rm -rf "$out/share"
(cd "$out" && sha256sum -- * >SHA256SUMS)
ls -l "$out"
