#!/usr/bin/env bash
# Install the programs that `make peers` tests against: Debian packages only.
set -euo pipefail
packages=(mbpoll minisign mosquitto mosquitto-clients ser2net socat tshark python3 python3-pymodbus python3-serial python3-serial-asyncio python3-grpcio python3-grpc-tools python3-protobuf python3-cryptography)
missing=()
for package in "${packages[@]}"; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
((${#missing[@]})) || exit 0
if ((EUID == 0)); then sudo=; else sudo=sudo; fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
$sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
