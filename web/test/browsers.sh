#!/bin/sh
# Makes sure that the other browsers for the tests exist: uses those named by FIREFOX, WEBKIT_DRIVER, WEBKIT_BROWSER and XVFB, or those
# that are installed, or installs them if it runs as root and apt is available.
set -eu
cd "$(dirname "$0")"

missing() {
  node --input-type=module -e "
    import { findFirefox } from '$PWD/firefox.mjs'
    import { findWebKit } from '$PWD/webkit.mjs'
    for (const find of [findFirefox, findWebKit]) {
      try { find() } catch (error) { console.log(error.message) }
    }"
}

why=$(missing)
[ -z "$why" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing firefox-esr, webkit2gtk-driver, xvfb" >&2
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq firefox-esr webkit2gtk-driver xvfb >/dev/null || true
  why=$(missing)
  [ -z "$why" ] && exit 0
fi
echo "the end-to-end tests need Firefox, and WebKitGTK with its WebDriver under Xvfb:" >&2
echo "$why" >&2
exit 1
