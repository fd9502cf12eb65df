#!/usr/bin/env bash
# ./bench.sh                 measures everything on the loopback and writes bench/RESULTS.md
# ./bench.sh PART [ARGS...]  one part (peers, micro, growth, connections, telemetry, simulation); ARGS go to its program
# --quick                    short rounds, only to check the tools: what they find goes to artifacts/bench
# A part is a program bench/<Part>: it writes the fragment $BENCH_RESULTS/<part>.md, which the page takes as it is.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# What was started ends by itself on Ctrl-C; the parts that come after it are not begun.
trap 'exit 130' INT TERM HUP

parts=(peers micro growth connections telemetry simulation)
failed=() args=() quick=()
for arg in "$@"; do
  case $arg in
    --quick) quick=(--quick) ;;
    *) args+=("$arg") ;;
  esac
done
if [ ${#args[@]} -gt 0 ]; then
  case ${args[0]} in
    peers | micro | growth | connections | telemetry | simulation) parts=("${args[0]}") args=("${args[@]:1}") ;;
    *)
      echo "bench: no part '${args[0]}'. Parts: ${parts[*]}" >&2
      exit 2
      ;;
  esac
fi
BENCH_RESULTS=$PWD/bench/results
[ ${#quick[@]} -eq 0 ] || BENCH_RESULTS=$PWD/artifacts/bench/results
export BENCH_RESULTS
mkdir -p "$BENCH_RESULTS"

# A command of the path, or a path with wildcards: PostgreSQL's programs are in a folder of their version.
available() { command -v "$1" >/dev/null || { [[ $1 == */* ]] && compgen -G "$1" >/dev/null; }; }

# need COMMAND PACKAGE: makes a system command available, or says loudly that it is missing.
need() {
  available "$1" && return 0
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo -n)
  if command -v apt-get >/dev/null && "${sudo[@]}" true 2>/dev/null; then
    echo "bench: installing $2 (for $1)" >&2
    local apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y)
    { "${apt[@]}" install --no-install-recommends "$2" || { "${apt[@]}" update && "${apt[@]}" install --no-install-recommends "$2"; }; } \
      </dev/null >/dev/null 2>&1
    available "$1" && return 0
  fi
  printf '\n*** MISSING: the command "%s" (package "%s"). What needs it is not measured. ***\n\n' "$1" "$2" >&2
  return 1
}

# program PROJECT [ARGS...]
program() {
  local name=$1
  shift
  dotnet build "bench/$name" --configuration Release --verbosity quiet -nodeReuse:false </dev/null &&
    dotnet "artifacts/bin/$name/release/$name.dll" "$@" </dev/null
}

for part in "${parts[@]}"; do
  project=${part^}
  [ "$part" != peers ] || project=Runner
  [ "$part" != telemetry ] || project=Runner
  [ "$part" != simulation ] || project=Fleets
  echo "=== $part"
  case $part in
    peers)
      need wrk wrk
      need redis-server redis-server
      need '/usr/lib/postgresql/*/bin/initdb' postgresql
      if need node nodejs && need npm npm; then
        (cd bench/node && npm ci --no-audit --no-fund --loglevel=error </dev/null) ||
          printf '\n*** npm ci failed: express is not measured. ***\n\n' >&2
      fi
      program Runner peers "${quick[@]}" "${args[@]}" || failed+=("$part")
      ;;
    telemetry)
      need wrk wrk
      need redis-server redis-server
      program Runner telemetry "${quick[@]}" "${args[@]}" || failed+=("$part")
      ;;
    growth | connections)
      need redis-server redis-server
      program "$project" "${quick[@]}" "${args[@]}" || failed+=("$part")
      ;;
    *) program "$project" "${quick[@]}" "${args[@]}" || failed+=("$part") ;;
  esac
done

echo "=== results"
program Runner assemble "${quick[@]}" || failed+=(results)
[ ${#failed[@]} -eq 0 ] || echo "bench: failed: ${failed[*]}"
[ ${#failed[@]} -eq 0 ]
