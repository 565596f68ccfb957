package cmd

import (
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/seahow-uk/nodeprobe/core/config"
)

func newLog(cfg *config.Config, w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name:              "nodeprobe",
		Level:             hclog.LevelFromString(cfg.LogLevel),
		JSONFormat:        cfg.LogFormat == "json",
		Output:            w,
		IndependentLevels: false,
	})
}
