#!/bin/bash
# Compares the Go benchmarks of a commit with those of the working tree, in turn so
# that a busy machine is busy for both, and prints benchstat's table.
#
#   bench/diff.sh COMMIT REGEXP ROUNDS      COMMIT "" measures the working tree alone
#
# Benchmarks run on one core for BENCHTIME (50ms) each. A benchmark that one of the
# two does not have is listed for the other.
set -euo pipefail
base=$1 regexp=$2 rounds=$3
time=${BENCHTIME:-50ms}
go=${GO:-go}
tags=(-tags libvirt_dlopen)

top=$(git rev-parse --show-toplevel)
cd "$top"
work=$(mktemp -d)
end() {
  trap - EXIT INT TERM
  cd "$top"
  [ ! -e "$work/base" ] || git worktree remove --force "$work/base"
  rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# compile NAME DIR builds the tests of the packages below DIR that have benchmarks which
# are chosen.
compile() {
  local package file
  mkdir -p "$work/$1.tests"
  cd "$2"
  grep -r '^func Benchmark' --include='*_test.go' . |
    awk -F '[:( ]' -v chosen="${regexp%%/*}" '$3 ~ chosen { sub("/[^/]*$", "", $1); print $1 }' | sort -u >"$work/$1.list"
  while read -r package; do
    file=$work/$1.tests/$(echo "${package#./}" | tr / _).test
    "$go" test "${tags[@]}" -c -o "$file" "$package"
  done <"$work/$1.list"
  cd "$top"
}

# round NAME DIR PACKAGE runs the benchmarks of one package.
round() {
  local file
  file=$work/$1.tests/$(echo "${3#./}" | tr / _).test
  [ -x "$file" ] || return 0
  # The package's own name stands before its benchmarks, for two may have one name.
  if ! (cd "$2/$3" && "$file" -test.run '^$' -test.bench "$regexp" -test.benchtime "$time" -test.benchmem -test.cpu 1 -test.timeout 10m) >"$work/out" 2>&1; then
    cat "$work/out" >&2
    echo "bench/diff.sh: the benchmarks of $3 failed ($1)" >&2
    exit 1
  fi
  grep -E '^(pkg|goos|goarch|cpu|Benchmark)' "$work/out" >>"$work/$1.txt" || true
}

trees=("new $top")
if [ -n "$base" ]; then
  commit=$(git rev-parse --verify --quiet "$base^{commit}") || { echo "bench/diff.sh: there is no commit $base" >&2; exit 2; }
  git worktree add --quiet --detach "$work/base" "$commit"
  trees=("old $work/base" "new $top")
fi
for tree in "${trees[@]}"; do
  # shellcheck disable=SC2086 # a name and a directory
  set -- $tree
  echo "building the benchmarks of $2" >&2
  compile "$1" "$2"
  : >"$work/$1.txt"
done
sort -u "$work"/*.list >"$work/packages"
for i in $(seq "$rounds"); do
  echo "round $i of $rounds" >&2
  while read -r package; do
    for tree in "${trees[@]}"; do
      # shellcheck disable=SC2086
      set -- $tree
      round "$1" "$2" "$package"
    done
  done <"$work/packages"
done
if [ -z "$base" ]; then
  cat "$work/new.txt"
  exit 0
fi
"$go" tool benchstat "old=$work/old.txt" "new=$work/new.txt"
