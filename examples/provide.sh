# Provides what a fresh Debian machine with Rust lacks: a C compiler, Python, openssl, unzip, strace (sourced by demo, check and
# benchmark).
#
# What is installed is used. What is missing comes from apt-get when this runs as root; otherwise the
# packages are downloaded and unpacked below .private, and the PATH of the caller is extended.
# Python packages always go to a virtual environment of their own, .private/venv.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
private=$checkout/.private
unpacked=$private/debian
requirements=$checkout/examples/tests/transparency/requirements.txt

say() { printf '%s\n' "$*" >&2; }
refuse() { say "$*"; exit 1; }
found() { command -v "$1" > /dev/null 2>&1; }

provide() {
    extend_paths
    local python=("$private/venv" "$requirements")
    if [ -z "$(missing_packages)" ] && python_packages_are_current "${python[@]}"; then return; fi
    mkdir -p "$private"
    # One at a time: a second run waits here and then finds everything provided.
    ( flock 9; provide_packages; extend_paths; provide_python_packages "${python[@]}" ) \
        9> "$private/lock"
    extend_paths
}

# Packages of the system -----------------------------------------------------------------------

missing_packages() {
    compiler_works || printf 'gcc libc6-dev '
    found openssl || printf 'openssl '
    found unzip || printf 'unzip '
    found strace || printf 'strace '
    found python3 && python3 -c 'import venv' 2> /dev/null || printf 'python3 '
    pip_source > /dev/null || printf 'python3-pip-whl '
}

# A compiler without the headers or start files of the C library is of no use.
compiler_works() {
    found cc && found ar && [ -e "$(cc -print-file-name=crt1.o)" ] &&
        printf '#include <stdlib.h>\n' | cc -E -x c - > /dev/null 2>&1
}

provide_packages() {
    local packages
    packages=$(missing_packages)
    [ -n "$packages" ] || return 0
    found apt-get || refuse "Missing: $packages- and there is no apt-get here. Please install them."
    if [ "$(id -u)" = 0 ]; then
        say "Installing with apt-get: $packages"
        install_as_root $packages || refuse "apt-get could not install: $packages"
    else
        say "Not root, so these packages are unpacked below .private: $packages"
        unpack_privately $packages || refuse "Could not download and unpack: $packages"
        extend_paths
    fi
    packages=$(missing_packages)
    [ -z "$packages" ] || refuse "Still missing after all that: $packages- please install them."
}

install_as_root() {
    local install=(apt-get install --quiet --quiet --yes --no-install-recommends "$@")
    export DEBIAN_FRONTEND=noninteractive
    # The package lists are fetched only when the ones at hand do not do.
    "${install[@]}" > "$private/apt.log" 2>&1 ||
        { apt-get update --quiet --quiet && "${install[@]}"; } > "$private/apt.log" 2>&1 ||
        { cat "$private/apt.log" >&2; return 1; }
}

unpack_privately() {
    local apt=$private/apt package
    local options=(--quiet --quiet --yes --no-install-recommends -o Debug::NoLocking=true
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt")
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$unpacked/usr/"{bin,lib,sbin}
    { apt-get update "${options[@]}" &&
        apt-get install --download-only "${options[@]}" "$@"; } > "$private/apt.log" 2>&1 ||
        { cat "$private/apt.log" >&2; return 1; }
    ln -sfn usr/bin "$unpacked/bin"
    ln -sfn usr/lib "$unpacked/lib"
    ln -sfn usr/sbin "$unpacked/sbin"
    [ ! -e /lib64 ] || { mkdir -p "$unpacked/usr/lib64"; ln -sfn usr/lib64 "$unpacked/lib64"; }
    for package in "$apt"/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" |
            tar -x -C "$unpacked" --keep-directory-symlink --no-same-owner
    done
    rm -rf "$apt"
    borrow_running_libraries
    write_compiler
}

# The C library that runs here is the one to link with, and must never be loaded from a second copy.
borrow_running_libraries() {
    local library
    for library in /lib/*-linux-gnu/{libc.so.6,libm.so.6,libmvec.so.1,libgcc_s.so.1} \
        /lib64/ld-linux*.so.* /lib/ld-linux*.so.*; do
        [ ! -e "$library" ] || ln -sfn "$library" "$unpacked$library"
    done
}

write_compiler() {
    [ -x "$unpacked/usr/bin/gcc" ] || return 0
    mkdir -p "$private/bin"
    # The script finds its own place, so that the checkout may be moved.
    cat > "$private/bin/cc" <<'SCRIPT'
#!/bin/sh
# The unpacked compiler, told where its headers and libraries are.
root=$(dirname "$0")/../debian
exec "$root/usr/bin/gcc" --sysroot="$root" -B"$root/usr/bin" "$@"
SCRIPT
    chmod +x "$private/bin/cc"
}

# Behind everything installed, except for the compiler, which only exists if there was none.
extend_paths() {
    [ -d "$unpacked" ] || return 0
    case ":$PATH:" in *":$unpacked/usr/bin:"*) return 0 ;; esac
    local libraries
    libraries=$(printf '%s:' "$unpacked"/usr/lib/*-linux-gnu)
    export PATH="$private/bin:$PATH:$unpacked/usr/bin:$unpacked/usr/sbin"
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}${libraries%:}"
}

# Packages of Python ---------------------------------------------------------------------------

# Says how pip can be had: bundled with Python, or as the wheel of Debian's python3-pip-whl.
pip_source() {
    if python3 -c 'import ensurepip' 2> /dev/null; then echo bundled; return; fi
    local wheel
    for wheel in {,"$unpacked"}/usr/share/python-wheels/pip-*.whl; do
        [ ! -e "$wheel" ] || { echo "$wheel"; return; }
    done
    return 1
}

# Both of these take a virtual environment and the file of what it must hold.
python_packages_are_current() {
    cmp -s "$2" "$1/requirements.txt" && "$1/bin/python" -c ''
}

provide_python_packages() {
    ! python_packages_are_current "$@" || return 0
    local source venv=$1 requirements=$2
    say "Installing what ${requirements#"$checkout/"} names into ${venv#"$checkout/"}"
    source=$(pip_source)
    rm -rf "$venv"
    python3 -m venv --without-pip "$venv"
    local pip=("$venv/bin/python" "$source/pip")
    if [ "$source" = bundled ]; then
        "$venv/bin/python" -m ensurepip > /dev/null
        pip=("$venv/bin/python" -m pip)
    fi
    # What the system trusts, pip shall trust; its own list lacks the authority of a filtering network.
    local authorities=/etc/ssl/certs/ca-certificates.crt
    [ ! -e "$authorities" ] || export PIP_CERT=${PIP_CERT:-$authorities}
    "${pip[@]}" install --quiet --no-cache-dir --disable-pip-version-check --only-binary :all: \
        --requirement "$requirements" ||
        refuse "pip could not install what $requirements names."
    cp "$requirements" "$venv/requirements.txt"
}

provide
