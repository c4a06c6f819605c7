# Sourced by bin/demo and bin/test: detects the required programs and installs missing ones on Debian. It never
# replaces a program that is installed in another way.

RUST_NEEDED=1.88
NODE_NEEDED=20

missing=()      # Debian packages, filled by `want`
missing_gems=() # gems for a Ruby that is not Debian's

heading() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
note() { printf '   %s\n' "$*"; }
fail() {
  printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 69 # EX_UNAVAILABLE
}

have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANTED: compares versions.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

want() { missing+=("$@"); }

# Rust does not come from Debian, whose version is too old.
require_rust() {
  if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then PATH="$HOME/.cargo/bin:$PATH"; fi
  have cargo || fail "Rust $RUST_NEEDED or newer is missing. Install it as" \
    "https://rustup.rs" "describes, then open a new shell and run this again."
  local found
  found=$(cargo --version | cut -d' ' -f2)
  at_least "$found" "$RUST_NEEDED" || fail "Rust $found is too old; $RUST_NEEDED or newer is needed." "rustup update stable"
}

# The tools that compile the server, the extension and crates with C code.
want_compiler() {
  have cc && have make || want build-essential
  have git || want git
  # bindgen reads Ruby's headers with libclang. It needs the library and its headers, but no compiler.
  if [ -z "${LIBCLANG_PATH:-}" ] && ! ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* >/dev/null 2>&1; then
    want libclang
  elif ! ls -d /usr/lib/llvm-*/lib/clang/*/include /usr/lib/clang/*/include >/dev/null 2>&1; then
    want libclang
  fi
}

want_ruby() {
  have ruby && ruby -e 'exit File.exist?(File.join(RbConfig::CONFIG["rubyhdrdir"], "ruby.h"))' || want ruby ruby-dev
  have bundle || want bundler
  have rake || want rake
}

# Succeeds if Ruby is Debian's, or will be after the installation. Another Ruby gets its gems with `gem install`.
debian_ruby() { ! have ruby || [ "$(command -v ruby)" = /usr/bin/ruby ]; }

# want_gem NAME PACKAGE
want_gem() {
  if have ruby && ruby -e 'gem ARGV[0]' "$1" >/dev/null 2>&1; then return; fi
  if debian_ruby; then want "$2"; else missing_gems+=("$1"); fi
}

want_node() {
  if have node && have npm; then require_node; else want nodejs npm; fi
}

# Fails if the installed Node is too old.
require_node() {
  local found
  found=$(node --version | tr -d v)
  at_least "$found" "$NODE_NEEDED" || fail "Node $found is too old; $NODE_NEEDED or newer is needed." "See https://nodejs.org/en/download"
}

want_command() { have "$1" || want "$2"; }

# Prints the two small packages of libclang in the version of this Debian.
libclang_packages() {
  local version
  version=$(apt-cache depends libclang-dev 2>/dev/null | grep -oE 'libclang-[0-9]+-dev' | grep -oE '[0-9]+' | head -n 1)
  version=${version:-14}
  echo "libclang1-$version libclang-common-$version-dev"
}

# Runs a command as root: directly, or through sudo if it needs no password or can ask for one.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

may_be_root() {
  [ "$(id -u)" = 0 ] || { have sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }
}

install_missing() {
  [ ${#missing_gems[@]} = 0 ] || fail "some gems of $(command -v ruby) are missing. Install them with" "gem install ${missing_gems[*]}"
  [ ${#missing[@]} -gt 0 ] || return 0
  have apt-get || fail "some packages are missing, and there is no apt-get to install them:" "${missing[*]}"
  if may_be_root; then
    heading "Installing missing packages (about half a minute)"
    as_root apt-get update --quiet=2
  fi

  local packages command
  packages=$(printf '%s\n' "${missing[@]}" | sed "s/^libclang$/$(libclang_packages)/" | tr ' ' '\n' | sort -u | tr '\n' ' ')
  command="apt-get install --yes --no-install-recommends ${packages% }"
  may_be_root || fail "some Debian packages are missing. As root, run" "apt-get update && $command" "then run this again."

  note "${packages% }"
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive $command --quiet=2
  hash -r
  missing=()
}

# bundle_in FOLDER: installs the gems of a folder, from the system if possible.
bundle_in() (
  cd "$1"
  export BUNDLE_SILENCE_ROOT_WARNING=1
  bundle check >/dev/null 2>&1 || bundle install --local --quiet 2>/dev/null || bundle install --quiet ||
    fail "the gems of $1 cannot be installed; the reason is above."
)

# packages FOLDER: installs the npm packages of a folder if they differ from its lock file. It does not use `npm ci`, which
# would delete the installed packages first.
packages() {
  local stamp="$1/node_modules/.nodevent-lock"
  cmp -s "$1/package-lock.json" "$stamp" && return 0
  (cd "$1" && npm install --no-save --no-fund --no-audit --loglevel=error) && cp "$1/package-lock.json" "$stamp"
}
