package config

import (
	"fmt"
	"slices"
	"strings"
)

// wrongWord says that word is none of valid, which one may have been meant,
// and which there are.
func wrongWord(what, word string, valid []string) error {
	hint := ""
	if near := nearest(word, valid); near != "" {
		hint = fmt.Sprintf("did you mean %q? ", near)
	}
	return fmt.Errorf("%s; %svalid: %s", what, hint, strings.Join(valid, ", "))
}

// oneOf checks that word is one of valid.
func oneOf(word string, valid ...string) error {
	if slices.Contains(valid, word) {
		return nil
	}
	return wrongWord(fmt.Sprintf("%.40q is not known", word), word, valid)
}

// nearest is the word of valid that differs in the fewest letters, at most a third
// of word's and in none of a word under four, or that is longer or shorter at its
// end; or empty.
func nearest(word string, valid []string) string {
	best, limit := "", len(word)/3
	if len(word) < 4 {
		limit = 0
	}
	lower := strings.ToLower(word)
	for _, v := range valid {
		if d := distance(lower, strings.ToLower(v), limit); d <= limit {
			best, limit = v, d-1
		}
	}
	if best != "" {
		return best
	}
	for _, v := range valid {
		if min(len(v), len(word)) >= 4 && (strings.HasPrefix(lower, v) || strings.HasPrefix(v, lower)) {
			return v
		}
	}
	return ""
}

// distance is that of Damerau and Levenshtein between a and b, without further edits
// of letters that changed places (optimal string alignment); above limit it may be
// less than it is.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
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
