#!/bin/sh
# Says what "go mod tidy" would change. Tidying also looks at the tests of
# dependencies; where the source of something that only those need cannot be
# had, go.sum cannot be judged, and only go.mod is.
set -eu
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
if diff=$(go mod tidy -diff 2>"$errors"); then
	exit 0
fi
if [ -z "$diff" ]; then
	cat "$errors" >&2
	echo "go.sum not judged: see above" >&2
	diff=$(go mod tidy -e -diff 2>/dev/null | awk '/^diff .*go\.sum$/ { exit } { print }')
	[ -n "$diff" ] || exit 0
fi
printf '%s\n' "$diff"
echo "go.mod or go.sum is not tidy: run go mod tidy" >&2
exit 1
