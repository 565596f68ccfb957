package config

import (
	"os"
	"path/filepath"
	"runtime"
)

// The directories of the original's containers. They win when they are there.
const (
	containerData    = "/app/data"
	containerConfigs = "/app/configs"
	containerCerts   = "/app/certs"
	containerPlugins = "/app/plugins"
)

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// defaultData is the container's directory, or the user's own for state, or
// one below the working directory for a user without a home.
func (s Source) defaultData() string {
	if s.exists(containerData) {
		return containerData
	}
	if base := s.userDir("XDG_STATE_HOME", ".local/state", "LOCALAPPDATA"); base != "" {
		return filepath.Join(base, "nodeprobe")
	}
	dir, err := filepath.Abs("nodeprobe-data")
	if err != nil {
		return "nodeprobe-data"
	}
	return dir
}

// defaultConfig is the container's directory, or the user's own for settings,
// or the data directory for a user without a home.
func (s Source) defaultConfig() string {
	if s.exists(containerConfigs) {
		return containerConfigs
	}
	if base := s.userDir("XDG_CONFIG_HOME", ".config", "APPDATA"); base != "" {
		return filepath.Join(base, "nodeprobe")
	}
	if v, _, ok := s.named("data-dir"); ok {
		return v
	}
	return s.defaultData()
}

// below is the container's directory, or one named sub in the data directory.
func (s Source) below(container, data, sub string) string {
	if s.exists(container) {
		return container
	}
	return filepath.Join(data, sub)
}

// userDir is the user's base directory as the system has it: the XDG variable
// or the folder below the home, or that of macOS or Windows; empty without a home.
func (s Source) userDir(xdg, belowHome, windows string) string {
	if runtime.GOOS == "windows" {
		return s.Getenv(windows)
	}
	if v := s.Getenv(xdg); filepath.IsAbs(v) {
		return v
	}
	home := s.Getenv("HOME")
	switch {
	case !filepath.IsAbs(home):
		return ""
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library/Application Support")
	}
	return filepath.Join(home, belowHome)
}
