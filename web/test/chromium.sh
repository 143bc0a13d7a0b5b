#!/bin/sh
# Makes sure that there is a Chromium for the tests: uses the one named by CHROMIUM, or one that is installed, or installs one if it runs as
# root and apt is available.
set -eu

if [ -n "${CHROMIUM:-}" ]; then
  [ -x "$CHROMIUM" ] && exit 0
  echo "CHROMIUM=$CHROMIUM is not an executable file" >&2
  exit 1
fi
found=
for name in chromium chromium-browser google-chrome; do
  command -v "$name" >/dev/null 2>&1 && found=$name
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  # The shell only makes the tests faster: if there is a browser, they work without it.
  command -v chromium-headless-shell >/dev/null 2>&1 && [ -n "$found" ] && exit 0
  echo "installing chromium, chromium-headless-shell" >&2
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-headless-shell >/dev/null; then
    exit 0
  fi
fi
[ -n "$found" ] && exit 0
echo "the browser tests need Chromium, and there is none here: install it, or set CHROMIUM=/path/to/it" >&2
exit 1
