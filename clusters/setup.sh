#!/usr/bin/env bash
# Sets up a node of a cluster: the shared folder, Python with this package, NVIDIA apex on GPUs.
# Safe to run again; a node that is set up takes seconds. cluster.yaml calls it on every node as
#
#   setup.sh head|worker --version VERSION [--nfs HOST:/EXPORT] [--cache FOLDER]
#
# Beside it lie dist/ with the package's wheel and constraints.txt, as `make wheel` leaves them.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
role=${1:?head or worker}
shift
version='' nfs='' cache=$HOME/.cache/tune_app
while (($#)); do
  case $1 in
    --version) version=$2 ;;
    --nfs) nfs=$2 ;;
    --cache) cache=$2 ;;
    *) echo "setup.sh: unknown option $1" >&2; exit 2 ;;
  esac
  shift 2
done
: "${version:?--version is missing}"

shared=${TUNE_APP_SHARED:-/mnt/shared}
fstab=${TUNE_APP_FSTAB:-/etc/fstab}
environment=${TUNE_APP_VENV:-$HOME/tune_app_venv}
# The commit of NVIDIA/apex that is built. Another one: change it here, and the wheel is built anew.
apex_commit=10417aceddd7d5d05d7cbf7b0fc2daad1105f8b4
# A100. Named, because the head builds for GPUs that it does not have.
apex_architectures=8.0

as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo "$@"; fi; }

install_system() {
  local tries=0
  # A fresh machine may know no packages yet, and brings itself up to date in its first minutes:
  # `update` does not wait for that, and `install` only when it is told to.
  until as_root apt-get --quiet update || ((++tries >= 30)); do sleep 10; done
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=300 install --yes --quiet "$@"
}

mount_shared() {
  [[ -n $nfs ]] || return 0
  # hard: a server that is away for a while makes a write wait, not fail.
  local options=nfsvers=4.1,hard,timeo=600,retrans=2,noresvport
  command -v mount.nfs4 >/dev/null || install_system nfs-common
  as_root mkdir -p "$shared"
  remember_mount "$options"
  mountpoint --quiet "$shared" && return 0
  as_root mount -t nfs4 -o "$options" "$nfs" "$shared"
  as_root chown "$(id -u):$(id -g)" "$shared"
}

# A node that was rebooted is not set up again: Ray only starts its own processes there.
remember_mount() {
  # automount: what comes before the network waits for the share, and never writes into the empty
  # folder below it.
  local line="$nfs $shared nfs4 $1,_netdev,nofail,x-systemd.automount 0 0"
  grep --quiet --fixed-strings --line-regexp "$line" "$fstab" && return 0
  # Another share than before takes its place.
  as_root sed -i "\\| $shared nfs4 |d" "$fstab"
  echo "$line" | as_root tee -a "$fstab" >/dev/null
}

# rsync kept the mode the file had on the laptop, and `ray get-auth-token --generate` makes it for
# all to read.
tighten_token() {
  [[ ! -e ~/.ray/auth_token ]] || chmod 600 ~/.ray/auth_token
}

install_package() {
  local wheel=$here/dist/tune_app-$version-py3-none-any.whl
  # Asked for pip, which comes last: what was cut off on its way there is made again.
  if ! "$environment/bin/python" -m pip --version >/dev/null 2>&1; then
    # Debian and Ubuntu keep venv apart from Python itself.
    python3 -c 'import ensurepip' 2>/dev/null || install_system python3-venv
    python3 -m venv "$environment"
  fi
  # constraints.txt: the versions that were tested together. Its torch comes with CUDA from PyPI.
  "$environment/bin/python" -m pip install --quiet --constraint "$here/constraints.txt" \
    "$wheel" ${TUNE_APP_EXTRA_PACKAGES:-}
  # For pip a new wheel of the version that is installed is nothing new.
  "$environment/bin/python" -m pip install --quiet --force-reinstall --no-deps "$wheel"
}

write_environment() {
  as_root mkdir -p "$cache"
  as_root chown "$(id -u):$(id -g)" "$cache"
  # Ray runs each of its commands in an interactive login shell, which reads .bashrc.
  cat >"$here/environment.sh" <<END
export PATH="$environment/bin:\$PATH"
export RAY_AUTH_MODE=token
export TUNE_APP_CACHE="$cache"
END
  local line=". \"$here/environment.sh\""
  grep --quiet --fixed-strings --line-regexp "$line" ~/.bashrc 2>/dev/null ||
    echo "$line" >>~/.bashrc
}

# The head builds the wheel once, before any GPU is paid for; the workers take it from the shared
# folder. Without a wheel a study runs all the same: preflight tells that apex is not there.
install_apex() {
  local python=$environment/bin/python versions cuda folder
  versions=$("$python" -c 'import sys, torch
print("torch", torch.__version__.split("+")[0], "-cu", torch.version.cuda or "",
      "-py3.", sys.version_info.minor, sep="")')
  cuda=$("$python" -c 'import torch; print(torch.version.cuda or "")')
  folder=$shared/wheels/apex-${apex_commit:0:12}-$versions
  if [[ $role == head && -n $cuda ]] && ! compgen -G "$folder/apex-*.whl" >/dev/null; then
    build_apex "$cuda" "$folder" || echo "setup.sh: apex is not built; studies run without it" >&2
  fi
  if command -v nvidia-smi >/dev/null && compgen -G "$folder/apex-*.whl" >/dev/null; then
    "$python" -m pip install --quiet --no-deps "$folder"/apex-*.whl
  fi
}

build_apex() {
  local cuda=$1 folder=$2 toolkit=${TUNE_APP_CUDA:-/usr/local/cuda-$1} work
  if [[ ! -x $toolkit/bin/nvcc ]]; then
    # apex refuses to be built by another CUDA than torch's.
    echo "setup.sh: no $toolkit/bin/nvcc on this image" >&2
    return 1
  fi
  # Each step says what is to follow when it fails: `set -e` is off left of the caller's ||.
  work=$(mktemp -d) || return 1
  mkdir -p "$folder" || return 1
  "$environment/bin/python" -m pip install --quiet ninja packaging setuptools wheel || return 1
  CUDA_HOME=$toolkit TORCH_CUDA_ARCH_LIST=$apex_architectures APEX_CPP_EXT=1 APEX_CUDA_EXT=1 \
    "$environment/bin/python" -m pip wheel --no-build-isolation --no-deps --wheel-dir "$work" \
    "git+https://github.com/NVIDIA/apex.git@$apex_commit" >"$work/build.log" 2>&1 ||
    { tail -n 20 "$work/build.log" >&2; return 1; }
  # Whole or not at all: a worker may look at any moment.
  cp "$work"/apex-*.whl "$folder/.part" || return 1
  mv "$folder/.part" "$folder/$(basename "$work"/apex-*.whl)" || return 1
  rm -rf "$work"
}

tighten_token
mount_shared
install_package
write_environment
install_apex
