#!/bin/sh
# Installs the real services that the tests put behind tunnels, where that can be done: as root, with apt. Where it cannot, the tests of
# those that are missing are skipped, and say so.
set -u

have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

missing=
have sshd && have scp || missing="$missing openssh-server openssh-client"
have nginx || missing="$missing nginx-light"
have wrk || missing="$missing wrk"
ls /usr/lib/postgresql/*/bin/pgbench >/dev/null 2>&1 || have pgbench || missing="$missing postgresql"
have ip && have iptables || missing="$missing iproute2 iptables" # for machines behind routers
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "installing$missing" >&2
  # shellcheck disable=SC2086 # one word a package
  if apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null; then exit 0; fi
fi
echo "tests with$missing are skipped: they are not here" >&2
