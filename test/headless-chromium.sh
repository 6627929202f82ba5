#!/bin/sh
# Finds a Chromium for the tests that look at reports in a real browser, or unpacks Debian's into a cache folder, without root
# and without installing packages:
#
#   eval "$(test/headless-chromium.sh)" && npx vitest run test/browser
#
# Prints the CHROME_PATH to use; nothing when a browser is on PATH already. Debian's chromium with the libraries that the
# machine lacks goes to the first argument (default ~/.cache/nibbleflow/chromium); as root, apt-get installs it instead.
set -eu

cache="${1:-${XDG_CACHE_HOME:-$HOME/.cache}/nibbleflow/chromium}"
wrapper="$cache/chromium"

fail() {
  echo "headless-chromium: $1" >&2
  exit 3
}

if [ -n "${CHROME_PATH:-}" ]; then exit 0; fi
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  if command -v "$name" >/dev/null; then exit 0; fi
done

if [ ! -x "$wrapper" ]; then
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "needs apt-get and dpkg-deb (Debian)"
  if [ "$(id -u)" -eq 0 ] && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium >&2; then
    exit 0
  fi
  mkdir -p "$cache"
  work="$(mktemp -d "$cache/unpack.XXXXXX")"
  trap 'rm -rf "$work"' EXIT
  # Every package that an installation would bring; the machine's own libraries are used where it has them.
  packages="$(apt-get install --simulate -q --no-install-recommends chromium 2>/dev/null | sed -n 's/^Inst \([^ ]*\).*/\1/p')"
  [ -n "$packages" ] || fail "apt-get knows no chromium; run 'apt-get update' first"
  # shellcheck disable=SC2086 # a list of names
  (cd "$work" && apt-get download -q $packages >&2) || fail "apt-get cannot download chromium and its libraries"
  rm -rf "$cache/unpacked"
  for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/unpacked"; done
  mv "$work/unpacked" "$cache/unpacked"
  libraries="$(find "$cache/unpacked" -name '*.so*' -exec dirname {} + | sort -u | paste -sd: -)"
  cat >"$work/chromium" <<SCRIPT
#!/bin/sh
LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec '$cache/unpacked/usr/lib/chromium/chromium' "\$@"
SCRIPT
  chmod +x "$work/chromium"
  # Last, so that its presence means that everything is there.
  mv -f "$work/chromium" "$wrapper"
fi

echo "export CHROME_PATH='$wrapper'"
