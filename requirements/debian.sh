#!/bin/sh
# Installs the Debian packages that the tests need and that are missing. Needs root only when something is missing.
set -eu
wanted="swtpm tpm2-tools libtss2-dev softhsm2 p11-kit p11-kit-modules opensc strongswan-pki libstrongswan-standard-plugins \
  libstrongswan-extra-plugins postgresql openssl curl gcc libssl-dev python3-dev pkg-config golang-go \
  golang-golang-x-mod-dev libbcpkix-java default-jdk-headless rabbitmq-server chromium fonts-dejavu-core"
missing=""
for package in $wanted; do
  dpkg-query --show --showformat='${Status}\n' "$package" 2>/dev/null | grep -q 'install ok installed' \
    || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
[ "$(id -u)" = 0 ] && sudo="" || sudo="sudo"
echo "installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086 the list is meant to be split
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
