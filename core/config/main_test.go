package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is one with nothing of the machine's own: no variables but env, no
// directories of a container, a home in dir.
func source(dir string, flags, env map[string]string) Source {
	return Source{
		Flags: flags,
		Getenv: func(name string) string {
			if v, ok := env[name]; ok || name != "HOME" {
				return v
			}
			return dir
		},
		exists: func(d string) bool { return !strings.HasPrefix(d, "/app/") && isDir(d) },
	}
}

// loadDir loads what is in a config directory.
func loadDir(t *testing.T, dir string) (*Config, error) {
	t.Helper()
	return Load(source(t.TempDir(), map[string]string{"config-dir": dir}, nil))
}

// loadText loads a nodeprobe.yaml with this text.
func loadText(t *testing.T, text string) (*Config, error) {
	t.Helper()
	return loadDir(t, dirWith(t, settingsFile, text))
}

func dirWith(t *testing.T, name, text string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, name), text)
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// messages are the lines of an error, without the directory of the files.
func messages(t *testing.T, dir string, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var es Errors
	if !errors.As(err, &es) {
		t.Fatalf("got %T, want Errors: %v", err, err)
	}
	return strings.Split(strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), ""), "\n")
}
