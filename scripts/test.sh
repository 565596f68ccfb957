#!/bin/sh
# Runs all tests, with the race detector where it works: it needs C.
set -eu
if cc=$(go env CC) && command -v "${cc%% *}" >/dev/null 2>&1; then
	export CGO_ENABLED=1
	# SQLite is C that was turned into Go, in these two: watching each of its
	# accesses makes the tests of the store fifteen times as expensive. Its driver,
	# where our memory becomes its own, is watched.
	set -- -race -gcflags='modernc.org/sqlite/lib=-race=false' -gcflags='modernc.org/libc/...=-race=false'
elif [ -n "${CI:-}${NODEPROBE_REQUIRE:-}" ]; then
	echo "no C compiler ($cc): the race detector needs one, and it is required here" >&2
	exit 1
else
	echo "no C compiler ($cc): the tests run without the race detector"
	set --
fi
exec go test "$@" -shuffle=on -timeout 30m ./...
