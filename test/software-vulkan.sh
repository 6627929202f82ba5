#!/bin/sh
# Sets up SwiftShader, a Vulkan driver that runs on the CPU, for the WebGPU tests, without root and without installing packages:
#
#   eval "$(test/software-vulkan.sh)" && npx vitest run test/activities/engine/webgpu.test.ts
#
# Takes libvk_swiftshader.so from Debian's chromium-common and the loader from libvulkan1 (apt-get download), unpacks both
# into a cache folder (first argument, default ~/.cache/nibbleflow/software-vulkan) unless they are there, and prints the
# environment they need. Debian's lavapipe (Mesa 22.3) does not do: Dawn refuses it.
set -eu

cache="${1:-${XDG_CACHE_HOME:-$HOME/.cache}/nibbleflow/software-vulkan}"
icd="$cache/vk_swiftshader_icd.json"

fail() {
  echo "software-vulkan: $1" >&2
  exit 3
}

if [ ! -f "$icd" ]; then
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "needs apt-get and dpkg-deb (Debian)"
  mkdir -p "$cache"
  work="$(mktemp -d "$cache/unpack.XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && apt-get download -q chromium-common libvulkan1 >&2) ||
    fail "apt-get cannot download chromium-common and libvulkan1; run 'apt-get update' first"
  for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
  driver="$(find "$work/root" -name libvk_swiftshader.so | head -n 1)"
  [ -n "$driver" ] || fail "this chromium-common has no libvk_swiftshader.so"
  loader="$(find "$work/root" -path '*/chromium/*' -prune -o -name 'libvulkan.so.1.*' -print | head -n 1)"
  [ -n "$loader" ] || fail "this libvulkan1 has no libvulkan.so.1"
  mv -f "$driver" "$cache/libvk_swiftshader.so"
  mv -f "$loader" "$cache/libvulkan.so.1"
  printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s/libvk_swiftshader.so", "api_version": "1.1.0"}}\n' \
    "$cache" >"$work/icd.json"
  # Last, so that its presence means that everything is there.
  mv -f "$work/icd.json" "$icd"
fi

mkdir -p "$cache/runtime"
chmod 700 "$cache/runtime"
echo "export VK_ICD_FILENAMES='$icd'"
echo "export LD_LIBRARY_PATH='$cache'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
echo "export XDG_RUNTIME_DIR=\"\${XDG_RUNTIME_DIR:-$cache/runtime}\""
