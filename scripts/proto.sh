#!/bin/sh
# proto.sh [--check] DIR: generates the Go code of DIR/plugin.proto; with
# --check it only compares, and says what differs.
set -eu
check=
if [ "$1" = --check ]; then
	check=yes
	shift
fi
dir=$1
# The files that plugin.proto imports come in a package of their own.
if ! protoc -o /dev/null google/protobuf/timestamp.proto 2>/dev/null; then
	case ",${NODEPROBE_REQUIRE:-}," in
	*,protoc,*) ;;
	*) [ -z "$check" ] || { echo "generated code not compared: there is no protoc here, or not what it imports"; exit 0; } ;;
	esac
	echo "protoc and what it imports are needed (packages protobuf-compiler and libprotobuf-dev)" >&2
	exit 1
fi
tool() { dirname "$(go tool -modfile=scripts/tools/go.mod -n "$1")"; }
PATH="$(tool protoc-gen-go):$(tool protoc-gen-go-grpc):$PATH"
out=$dir
if [ -n "$check" ]; then
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
fi
protoc -I "$dir" --go_out="$out" --go_opt=paths=source_relative \
	--go-grpc_out="$out" --go-grpc_opt=paths=source_relative plugin.proto
[ -n "$check" ] || exit 0
for file in "$out"/*.go; do
	# Which release of protoc parsed the file changes nothing in the code.
	if ! diff -u -I '^// [-	]* *protoc  *v' "$dir/$(basename "$file")" "$file"; then
		echo "the generated code is not what $dir/plugin.proto says: run make proto" >&2
		exit 1
	fi
done
