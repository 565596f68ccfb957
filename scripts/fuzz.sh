#!/bin/sh
# fuzz.sh COUNT: runs each fuzz target of the module COUNT times, as 2000x.
# A time, as 1m, works too, but Go before 1.27 may then call its end a failure
# (golang/go#75804): only the count is for CI.
set -eu
time=$1
grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | sort | while read -r file; do
	package=$(dirname "$file")
	sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' "$file" | while read -r target; do
		echo "$package $target"
		go test "$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" </dev/null
	done
done
