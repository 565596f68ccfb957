package cmd

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/spf13/cobra"
)

// scaffold holds the sources of a new plugin; files end in .tmpl so that they
// are not taken for this module's.
//
//go:embed scaffold
var scaffold embed.FS

// plannedPlugin is what the templates know.
type plannedPlugin struct {
	Name string
	// Version of the SDK's module, and a local copy of it to use instead.
	Version, SDK string
}

var pluginName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

func newPluginNew() *cobra.Command {
	var sdkDir string
	c := &cobra.Command{
		Use:   "new probe|reporter NAME",
		Short: "Write the source of a new plugin into the folder NAME",
		Long: "Write the source of a new plugin, a Go module of its own, into the folder NAME. It builds and passes\n" +
			"its test at once: cd NAME && go mod tidy && go test ./... && go build",
		Args: usage(cobra.ExactArgs(2)),
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] != "probe" && args[0] != "reporter" {
				return usageError{fmt.Errorf("new %q: want probe or reporter", args[0])}
			}
			if !pluginName.MatchString(args[1]) {
				return usageError{fmt.Errorf("name %q: want a letter, then letters, digits, hyphens, all lower case", args[1])}
			}
			plan := plannedPlugin{Name: args[1], Version: sdkVersion(), SDK: sdkDir}
			if err := plan.write(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "wrote %s; next: cd %s && go mod tidy && go test ./... && go build\n", plan.Name, plan.Name)
			return err
		},
	}
	c.Flags().StringVar(&sdkDir, "sdk", "", "use this copy of NodeProbe's source instead of the published module")
	return c
}

// sdkVersion is what a plugin written by this binary should require; empty, for a
// binary that is no release, leaves the choice to "go mod tidy".
func sdkVersion() string {
	if v := Version(); strings.HasPrefix(v, "v") && !strings.Contains(v, "+") {
		return v
	}
	return ""
}

// write makes the folder; it must not exist.
func (p plannedPlugin) write(kind string) error {
	if p.SDK != "" {
		p.Version = cmp.Or(p.Version, "v0.0.0") // replaced, but it must be there
		abs, err := filepath.Abs(p.SDK)
		if err != nil {
			return err
		}
		p.SDK = abs
	}
	if err := os.Mkdir(p.Name, 0o755); err != nil {
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("%s is there already: choose another name, or remove it", p.Name)
		}
		return err
	}
	for _, dir := range []string{"scaffold/module", "scaffold/" + kind} {
		files, err := template.ParseFS(scaffold, dir+"/*.tmpl")
		if err != nil {
			return err
		}
		for _, t := range files.Templates() {
			if err := p.writeFile(t); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p plannedPlugin) writeFile(t *template.Template) error {
	f, err := os.Create(filepath.Join(p.Name, strings.TrimSuffix(t.Name(), ".tmpl")))
	if err != nil {
		return err
	}
	if err := t.Execute(f, p); err != nil {
		f.Close()
		return fmt.Errorf("write %s: %w", f.Name(), err)
	}
	return f.Close()
}
