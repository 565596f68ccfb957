package plugins

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/core"
)

const (
	maxLogPairs = 32
	maxLogText  = 1 << 10
)

// relog writes one line of a plugin's stderr to log: hclog's JSON at its own
// level and with its own pairs, the first line of a panic as an error,
// everything else as debug.
func relog(log hclog.Logger, line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	if entry, ok := parseEntry(line); ok {
		if entry.level >= log.GetLevel() {
			log.Log(entry.level, entry.message, entry.pairs()...)
		}
		return
	}
	level := hclog.Debug
	if isAlarm(line) {
		level = hclog.Error
	}
	if level >= log.GetLevel() {
		log.Log(level, "plugin wrote", "line", core.CleanText(string(line), maxLogText))
	}
}

// entry is a line as hclog writes it in JSON.
type entry struct {
	level   hclog.Level
	message string
	fields  map[string]any
}

func parseEntry(line []byte) (entry, bool) {
	if line[0] != '{' {
		return entry{}, false
	}
	var fields map[string]any
	if json.Unmarshal(line, &fields) != nil {
		return entry{}, false
	}
	name, _ := fields["@level"].(string)
	message, ok := fields["@message"].(string)
	level := hclog.LevelFromString(name)
	if !ok || level == hclog.NoLevel || level == hclog.Off {
		return entry{}, false
	}
	return entry{level, core.CleanText(message, maxLogText), fields}, true
}

func (e entry) pairs() []any {
	keys := make([]string, 0, len(e.fields))
	for key := range e.fields {
		if !strings.HasPrefix(key, "@") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	keys = keys[:min(len(keys), maxLogPairs)]
	list := make([]any, 0, 2*len(keys)+2)
	if module, ok := e.fields["@module"].(string); ok && module != "" {
		list = append(list, "module", core.CleanText(module, 64))
	}
	for _, key := range keys {
		list = append(list, core.CleanText(key, 64), core.CleanText(fmt.Sprint(e.fields[key]), maxLogText))
	}
	return list
}

// telling is what a line of stderr says about the end of a process: plain text
// does, hclog's JSON only when it is an error.
func telling(line string) string {
	if line == "" {
		return ""
	}
	e, ok := parseEntry([]byte(line))
	switch {
	case !ok:
		return line
	case e.level < hclog.Error:
		return ""
	}
	if cause, ok := e.fields["error"].(string); ok {
		return e.message + ": " + cause
	}
	return e.message
}
