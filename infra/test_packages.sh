#!/bin/sh
# Installs the Debian packages that tests use and that are not here: as root only; others run without those tests.
set -eu
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0

needed=""
# command:package
for pair in \
    openssl:openssl pebble:pebble chromium-headless-shell:chromium-headless-shell \
    mbsync:isync offlineimap:offlineimap3 fetchmail:fetchmail mpop:mpop curl:curl thunderbird:thunderbird \
    swaks:swaks msmtp:msmtp \
    postfix:postfix rspamd:rspamd pdns_server:pdns-server; do
    command -v "${pair%%:*}" >/dev/null || needed="$needed ${pair##*:}"
done
[ -e /usr/share/pdns-backend-sqlite3 ] || needed="$needed pdns-backend-sqlite3" # where the name server keeps zones
# what swaks needs for STARTTLS
perl -MNet::SSLeay -e1 2>/dev/null || needed="$needed libnet-ssleay-perl"
ldconfig -p | grep -q 'libcurl\.so\.4' || needed="$needed libcurl4"
ldconfig -p | grep -q 'libatomic\.so\.1' || needed="$needed libatomic1" # what drives the browser is Node.js
[ -n "$needed" ] || exit 0

echo "installing what tests use:$needed"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086
apt-get -qq install -y --no-install-recommends $needed >/dev/null
