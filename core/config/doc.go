// Package config turns nodeprobe.yaml, seed.json, reportingserver.json, the
// environment and the flags into one valid Config, or into one error that holds
// everything that is wrong, each with its file, line, path and what would be
// valid.
//
// A flag wins over the environment, the environment over the file, the file
// over the default. Default gives the defaults, the files are decoded strictly
// over them, validate judges the whole. Load does all of it and has no side
// effects: it makes no directory and opens no port.
package config
