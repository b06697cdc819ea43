#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts beside it: the tools that Maven fetches, in target/tools.
TOOLS=target/tools

# maven ARGUMENTS: Maven, which prints only errors, and these not to the standard output.
maven() {
  mvn -q -B "$@" >&2
}

# fetch ARTIFACT NAME: the artifact as target/tools/NAME, from Maven's repositories.
fetch() {
  local folder=$TOOLS/fetched/${1//:/_}
  if [[ ! -d $folder ]]; then
    mkdir -p "$TOOLS"
    # In a folder without a pom.xml, Maven copies the artifact once and not once for each module.
    (cd "$TOOLS" && maven org.apache.maven.plugins:maven-dependency-plugin:3.11.0:copy -Dartifact="$1" -DoutputDirectory="$PWD/part")
    mkdir -p "$TOOLS/fetched"
    mv "$TOOLS/part" "$folder"
  fi
  cp "$folder"/* "$TOOLS/$2"
  chmod +x "$TOOLS/$2"
}

# platform: the classifier of protoc for this machine.
platform() {
  local system machine
  system=$(uname -s)
  machine=$(uname -m)
  [[ $system == Darwin ]] && system=osx || system=linux
  [[ $machine == aarch64 || $machine == arm64 ]] && machine=aarch_64
  echo "$system-$machine"
}

# version NAME: the version of protobuf or grpc in pom.xml.
version() {
  sed -n "s|.*<$1.version>\(.*\)</$1.version>.*|\1|p" pom.xml
}
