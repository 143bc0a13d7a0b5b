#!/bin/sh
# Builds a release for all platforms, or for those of PLATFORMS, and for this machine's once more, in another folder and with another cache of
# Go, and compares the bytes. Then all parts must report the same version. It takes many minutes: make release-check.
set -eu
version=0.0.0-check
platform=$(go env GOOS)/$(go env GOARCH)
case ,$PLATFORMS, in
*,"$platform",*) ;;
*) echo "release-check: PLATFORMS=$PLATFORMS is without $platform, on which the programs are run" >&2; exit 1 ;;
esac
test -z "$(git status --porcelain)" || { echo "release-check: commit first: the second build is of the commit" >&2; exit 1; }

make --no-print-directory release VERSION=$version PLATFORMS="$PLATFORMS"
(cd bin/release && sha256sum --check --quiet --strict SHA256SUMS)

again=$(mktemp -d)
trap 'rm -rf "$again"' EXIT
git clone --quiet --shared . "$again/tombolo"
ln -s "$PWD/web/node_modules" "$again/tombolo/web/node_modules"
touch web/node_modules/.package-lock.json # younger than the lock file of the clone
GOCACHE="$again/cache" make --no-print-directory -C "$again/tombolo" release VERSION=$version PLATFORMS="$platform"
# But for the formula, which has the checksums of all archives.
grep -v ' tombolo\.rb$' "$again/tombolo/bin/release/SHA256SUMS" >"$again/SHA256SUMS"
if ! (cd bin/release && sha256sum --check --quiet --strict "$again/SHA256SUMS"); then
  echo "release-check: the two builds for $platform differ" >&2
  exit 1
fi

programs=tombolo_${version}_$(echo "$platform" | tr / _)
tar xzf "bin/release/$programs.tar.gz" -C "$again"
programs=$again/$programs
page=$(node --experimental-websocket --no-warnings --input-type=module -e "
  const { createNode } = await import('$PWD/web/dist/npm/index.node.js')
  const node = await createNode()
  console.log(node.version)
  await node.close()
  process.exit()")
for said in "$("$programs/tombolo" version)" "$("$programs/tombolo" --version)" "$("$programs/tombolo-relay" --version)" "tombolo $page " "tombolo $(node -p "require('./web/dist/npm/package.json').version") "; do
  case $said in
  *" $version "*) ;;
  *) echo "release-check: '$said' is not of version $version" >&2; exit 1 ;;
  esac
done
echo "release-check: built for $PLATFORMS; two builds for $platform are the same bytes, and all parts report $version"
