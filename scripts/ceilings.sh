#!/bin/sh
# Names hand-written Go files over 400 lines and functions over 60: places to
# look, not verdicts.
find . -name '*.go' ! -name '*.pb.go' ! -name '*_test.go' | sort | xargs awk '
	FNR == 1 { if (file && lines > 400) print lines " lines  " file; start = 0 }
	{ file = FILENAME; lines = FNR }
	/^func / { start = FNR; name = $0 }
	/^}/ {
		if (start && FNR - start > 60) { sub(/ *\{$/, "", name); print FNR - start " lines  " FILENAME ": " name }
		start = 0
	}
	END { if (lines > 400) print lines " lines  " file }'
