package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// format of what a command lists; it is a flag, which refuses other words
// before the command does anything.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
)

// String, Set and Type implement pflag.Value.
func (f *format) String() string { return string(*f) }

func (f *format) Set(s string) error {
	if *f = format(s); *f != formatTable && *f != formatJSON {
		return errors.New("want table or json")
	}
	return nil
}

func (*format) Type() string { return "format" }

// outputFlag adds -o to a command that lists something.
func outputFlag(c *cobra.Command) *format {
	f := formatTable
	c.Flags().VarP(&f, "output", "o", "table or json")
	return &f
}

// render writes v as JSON, or calls table with a writer that aligns
// tab-separated cells.
func render(w io.Writer, f format, v any, table func(w io.Writer)) error {
	if f == formatJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	table(tw)
	return tw.Flush()
}

func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		if text[i] = fmt.Sprint(c); text[i] == "" {
			text[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(text, "\t"))
}

// ago is how long ago t was, to the second, or empty for never.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return max(0, time.Since(t)).Round(time.Second).String()
}
