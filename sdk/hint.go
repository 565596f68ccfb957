package sdk

import (
	"strings"
)

// hint says what key may have been meant, or else what there is.
func hint(key string, fields []field) string {
	if len(fields) == 0 {
		return "there is nothing to configure here"
	}
	best, least := "", len(key)/3+1 // a third of its letters, none of a short one
	if len(key) < 4 {
		least = 1
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
		if d := distance(plain(key), plain(f.name)); d < least {
			best, least = f.name, d
		}
	}
	if best != "" {
		return `did you mean "` + best + `"?`
	}
	return "valid are " + strings.Join(names, ", ")
}

// plain makes camelCase, kebab-case and snake_case the same.
func plain(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s))
}

// distance is that of Damerau and Levenshtein in bytes, without further edits of
// letters that changed places. A key that long is no typing error: then it is its
// length.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return max(len(a), len(b))
	}
	var before, last []int // the rows of two letters ago, and of the last one
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := last[j]
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
