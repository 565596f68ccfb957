package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Error is one thing that is wrong with the configuration.
type Error struct {
	// File and Line are where it was read; empty and 0 for flags and the
	// environment.
	File string
	Line int
	// Path is the key, "probes.https.interval"; or the flag or variable.
	Path string
	// Message says what is wrong and what would be valid.
	Message string
}

// Error is "file:line: path: message" without the parts that are not known.
func (e Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			b.WriteString(":" + strconv.Itoa(e.Line))
		}
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Errors is everything that is wrong, ordered by file and line.
type Errors []Error

// maxLines is as many as somebody reads; a file of another kind has thousands.
const maxLines = 100

// Error is one line per error, and how many more there are than fit.
func (es Errors) Error() string {
	lines := make([]string, min(len(es), maxLines))
	for i := range lines {
		lines[i] = es[i].Error()
	}
	if more := len(es) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// err is nil when nothing is wrong.
func (es Errors) err() error {
	if len(es) == 0 {
		return nil
	}
	slices.SortStableFunc(es, func(a, b Error) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return es
}
