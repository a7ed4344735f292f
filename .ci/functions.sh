# What the scripts of this folder share; to be sourced. It ends with the functions for root file systems of other
# releases of Debian, which have interpreters and servers that this machine has not.

section() { printf '\n=== %s (%s)\n' "$*" "$(date +%H:%M:%S)"; }

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

wait_for_port() {  # name, port
  for _ in $(seq 180); do
    listens "$2" && return 0
    sleep 1
  done
  echo "$1 does not listen on 127.0.0.1:$2." >&2
  return 1
}

# Split the arguments "a b -- c d" into `names` and `pytest_arguments`.
split_arguments() {
  names=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    names+=("$1")
    shift
  done
  pytest_arguments=("${@:2}")
}

# uv makes the environments of tox in a fraction of the time, where it finds the packages that pip finds.
install_tox() {  # folder of the programs of a virtual environment
  "$1/python" -m pip install --quiet "tox>=4.22" tox-uv
  if ! "$1/uv" pip install --quiet --dry-run --python "$1/python" pytest >/dev/null 2>&1; then
    "$1/python" -m pip uninstall --quiet --yes tox-uv
  fi
}

# --- root file systems ----------------------------------------------------------------------------------------------

roots=${WEBPUSH_KIT_ROOTS:-/var/cache/webpush-kit-ci}

CANNOT_BE_HAD=77  # the exit status of a script that cannot get what it is to run

cannot_be_had() {
  echo "Skipped: $1."
  exit "$CANNOT_BE_HAD"
}

debian_mirror() {
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | sed -n 1p
}

# Make the root file system $roots/NAME of a release with some packages, or use the one of a former run. One process
# uses it at a time. The mirror and the options of apt's downloads are those of this machine.
make_root() {  # name, release, package...
  local name=$1 release=$2 wanted="${*:2}" mirror
  [ "$(id -u)" = 0 ] || cannot_be_had "only root can make a root file system"
  command -v mmdebstrap >/dev/null || cannot_be_had "mmdebstrap is not installed"
  unshare --mount --pid --fork true 2>/dev/null || cannot_be_had "this machine allows no mounts"
  mkdir -p "$roots"
  exec 8>"$roots/$name.lock"
  flock 8
  root=$roots/$name
  if [ "$(cat "$root.made" 2>/dev/null)" = "$wanted" ] && [ -z "$(find "$root.made" -mtime +14)" ]; then
    return 0
  fi

  section "Making a root file system of Debian $release"
  [ -n "$(debian_mirror)" ] || apt-get update -qq || true
  mirror=$(debian_mirror)
  [ -n "$mirror" ] || cannot_be_had "apt of this machine knows no mirror of Debian"
  rm -rf --one-file-system "$root" "$root.made"
  apt-config dump | grep -E '^Acquire::(http|https|Check|Retries|ForceIPv)' >"$roots/$name.apt.conf" || true
  shift 2
  mmdebstrap --quiet --mode=root --variant=apt --include="$(IFS=,; echo "ca-certificates,$*")" \
    --aptopt="$roots/$name.apt.conf" --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' \
    "$release" "$root" "$mirror" >"$roots/$name.log" 2>&1 \
    || { tail -n 20 "$roots/$name.log" >&2; cannot_be_had "Debian $release has no $* today"; }
  echo "$wanted" >"$root.made"
}

# Run a command in a root file system, in the checkout, with this machine's network, certificates and settings of pip
# and uv. All its processes and mounts are gone when it ends, and when this script does.
in_root() { (exec_in_root "$@"); }  # root, command...

# The same instead of this shell: for a server, `exec_in_root ROOT COMMAND &`, which `kill -KILL $!` ends.
exec_in_root() {
  export -f enter_root machine_files
  exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child bash -euc 'enter_root "$@"' - "$@"
}

enter_root() {
  local root=$1 path
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/tmp"
  cp --dereference --remove-destination /etc/resolv.conf /etc/hosts "$root/etc"
  while read -r path; do
    if [ -d "$path" ]; then
      mkdir -p "$root$path"
      # never over a folder that the release has filled, but for the certificates
      [[ "$path" == */ca-certificates || "$path" == /etc/ssl/certs || -z $(ls -A "$root$path") ]] || continue
    else
      mkdir -p "$root${path%/*}"
      [ -e "$root$path" ] || : >"$root$path"
    fi
    mount --rbind "$path" "$root$path"
  done < <(machine_files)
  mkdir -p "$root/checkout"
  mount --rbind "$PWD" "$root/checkout"
  shift
  unset PYTHONPATH VIRTUAL_ENV
  export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
  exec chroot "$root" sh -c 'cd /checkout && exec "$@"' - "$@"
}

# The certificates of this machine, the settings of pip and uv, and each file and folder that these settings name. Of
# folders the first two parts: an index in /opt/pypi/simple may lead to files beside it.
machine_files() {
  local path certificates=(/etc/ssl/certs /usr/share/ca-certificates /usr/local/share/ca-certificates)
  local settings=(/etc/pip.conf /etc/xdg/pip/pip.conf "$HOME/.pip/pip.conf" "$HOME/.config/pip/pip.conf" "${PIP_CONFIG_FILE:-}"
    /etc/uv/uv.toml "$HOME/.config/uv/uv.toml" "${UV_CONFIG_FILE:-}" "$HOME/.netrc")
  {
    printf '%s\n' "${settings[@]}"
    { env | grep -E '^(PIP|UV|SSL|REQUESTS|CURL)_' || true; cat "${settings[@]}" 2>/dev/null || true; } |
      grep -oE '/[^][:space:],=:"'\'']+' | sed 's#^//*#/#'
  } | while read -r path; do
    if [ -f "$path" ]; then
      echo "$path"
    elif [ -d "$path" ]; then
      cut -d / -f -3 <<<"$path"
    fi
  done | sort -u
  for path in "${certificates[@]}"; do if [ -d "$path" ]; then echo "$path"; fi; done
}
