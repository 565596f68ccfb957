package config

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPrecedence(t *testing.T) {
	abs := func(name string) string { return filepath.Join(string(filepath.Separator), name) }
	rows := map[string]struct {
		key                     string
		file, bare, env, flag   string
		get                     func(*Config) string
		wantDefault, bareVarSet string
	}{
		"data-dir":    {key: "data_dir", file: abs("file"), bare: abs("bare"), env: abs("env"), flag: abs("flag"), get: func(c *Config) string { return c.DataDir }, bareVarSet: "DATA_DIR"},
		"cert-dir":    {key: "cert_dir", file: abs("file"), bare: abs("bare"), env: abs("env"), flag: abs("flag"), get: func(c *Config) string { return c.CertDir }, bareVarSet: "CERT_DIR"},
		"listen":      {key: "listen", file: ":1", env: ":2", flag: ":3", get: func(c *Config) string { return c.Listen }, wantDefault: ":443"},
		"advertise":   {key: "advertise", file: "a:1", env: "a:2", flag: "a:3", get: func(c *Config) string { return c.Advertise }},
		"node-name":   {key: "node_name", file: "a", env: "b", flag: "c", get: func(c *Config) string { return c.NodeName }},
		"interval":    {key: "interval", file: "1s", env: "2s", flag: "3s", get: func(c *Config) string { return c.Interval.String() }, wantDefault: "30s"},
		"log-level":   {key: "log.level", file: "warn", env: "debug", flag: "trace", get: func(c *Config) string { return c.LogLevel }, wantDefault: "info"},
		"storage-dsn": {key: "storage.dsn", file: "postgres://a/x", env: "postgres://b/x", get: func(c *Config) string { return c.Storage.DSN.Value() }},
		"log-format":  {key: "log.format", file: "json", env: "text", flag: "json", get: func(c *Config) string { return c.LogFormat }, wantDefault: "text"},
	}
	for _, f := range Flags() {
		row, ok := rows[f.Name]
		if !ok {
			if f.set != nil {
				t.Errorf("no row for --%s", f.Name)
			}
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			key, value := row.key, row.file
			if section, sub, ok := strings.Cut(key, "."); ok {
				key, value = section, "{"+sub+": "+value+"}"
			} else {
				value = `"` + value + `"`
			}
			dir := dirWith(t, settingsFile, key+": "+value+"\n")
			flags, env := map[string]string{}, map[string]string{}
			check := func(layer, want string) {
				t.Helper()
				env["CONFIG_DIR"] = dir
				c, err := Load(source(t.TempDir(), flags, env))
				if err != nil {
					t.Fatal(err)
				}
				if got := row.get(c); want != "" && got != want {
					t.Errorf("%s: got %s, want %s", layer, got, want)
				}
			}
			withFile := dir
			dir = t.TempDir()
			check("default", row.wantDefault)
			dir = withFile
			check("file", row.file)
			env[f.Env] = ""
			check("empty variable", row.file)
			if row.bare != "" {
				env[row.bareVarSet] = row.bare
				check("bare variable", row.bare)
			}
			env[f.Env] = row.env
			check("variable", row.env)
			flags[f.Name] = cmp.Or(row.flag, "no flag")
			check("flag", cmp.Or(row.flag, row.env))
		})
	}
}

func TestConfigFileAndDirectory(t *testing.T) {
	home := t.TempDir()
	one, two, file := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "other.yaml")
	write(t, filepath.Join(one, settingsFile), "interval: 1s\n")
	write(t, filepath.Join(two, settingsFile), "interval: 2s\n")
	write(t, file, "interval: 3s\n")
	type m = map[string]string
	for name, row := range map[string]struct {
		flags, env m
		want       time.Duration
	}{
		"bare":           {nil, m{"CONFIG_DIR": one}, time.Second},
		"variable":       {nil, m{"CONFIG_DIR": one, "NODEPROBE_CONFIG_DIR": two}, 2 * time.Second},
		"flag":           {m{"config-dir": one}, m{"NODEPROBE_CONFIG_DIR": two}, time.Second},
		"file variable":  {nil, m{"CONFIG_DIR": one, "NODEPROBE_CONFIG": file}, 3 * time.Second},
		"file flag":      {m{"config": file, "config-dir": one}, nil, 3 * time.Second},
		"nothing there":  {nil, m{"CONFIG_DIR": filepath.Join(one, "no")}, 30 * time.Second},
		"home directory": {nil, nil, 30 * time.Second},
	} {
		c, err := Load(source(home, row.flags, row.env))
		if err != nil || c.Interval != row.want {
			t.Errorf("%s: got %+v, %v; want interval %s", name, c, err, row.want)
		}
	}
	none := filepath.Join(one, "none")
	_, err := Load(source(home, m{"config-dir": none, "config": none}, nil))
	if got, want := messages(t, one, err), []string{`--config-dir: "none" is not a directory`, `--config: "none" does not exist`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNodeEnv(t *testing.T) {
	for env, want := range map[string]string{
		"": "info text", "development": "debug text", "production": "info json", "test": "info text",
	} {
		c, err := Load(source(t.TempDir(), nil, map[string]string{"NODE_ENV": env}))
		if err != nil {
			t.Fatal(err)
		}
		if got := c.LogLevel + " " + c.LogFormat; got != want {
			t.Errorf("NODE_ENV=%s: got %s, want %s", env, got, want)
		}
	}
	dir := dirWith(t, settingsFile, "log: {level: warn}\n")
	c, err := Load(source(t.TempDir(), nil, map[string]string{"NODE_ENV": "development", "CONFIG_DIR": dir}))
	if err != nil || c.LogLevel != "warn" {
		t.Errorf("got %+v, %v; the file must win over NODE_ENV", c, err)
	}
}

func TestUnknownVariables(t *testing.T) {
	src := source(t.TempDir(), nil, nil)
	src.Environ = []string{
		"PATH=/bin", "NODEPROBE_LISTEN=:1", "NODEPROBE_INTERVALL=5s", "NODEPROBE_PORT=8443", "NODEPROBE_", "NODEPROBE_PORTS=tcp://x",
		// What Kubernetes sets for the services nodeprobe and nodeprobe-node1.
		"NODEPROBE_SERVICE_HOST=10.0.0.1", "NODEPROBE_SERVICE_PORT=443", "NODEPROBE_SERVICE_PORT_HTTPS=443", "NODEPROBE_PORT=tcp://10.0.0.1:443",
		"NODEPROBE_PORT_443_TCP=tcp://10.0.0.1:443", "NODEPROBE_PORT_443_TCP_PROTO=tcp", "NODEPROBE_PORT_443_TCP_PORT=443", "NODEPROBE_PORT_443_TCP_ADDR=10.0.0.1",
		"NODEPROBE_NODE1_SERVICE_HOST=10.0.0.2", "NODEPROBE_NODE1_PORT=tcp://10.0.0.2:443", "NODEPROBE_NODE1_PORT_443_UDP=udp://10.0.0.2:443",
	}
	var got []string
	for _, e := range src.unknownVariables() {
		got = append(got, e.Path)
	}
	if want := []string{"NODEPROBE_INTERVALL", "NODEPROBE_PORT", "NODEPROBE_", "NODEPROBE_PORTS"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDirectories(t *testing.T) {
	container := map[string]bool{"/app/data": true, "/app/configs": true, "/app/certs": true, "/app/plugins": true}
	src := source("/home/u", nil, nil)
	src.exists = func(d string) bool { return container[filepath.ToSlash(d)] }
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/app/data" || c.ConfigDir != "/app/configs" || c.CertDir != "/app/certs" || c.Plugins.Directory != "/app/plugins" {
		t.Errorf("container: got %q %q %q %q", c.DataDir, c.ConfigDir, c.CertDir, c.Plugins.Directory)
	}
	src = source("", nil, nil)
	src.Getenv = func(string) string { return "" }
	if c, err = Load(src); err != nil {
		t.Fatal(err)
	}
	if want, _ := filepath.Abs("nodeprobe-data"); c.DataDir != want || c.ConfigDir != want {
		t.Errorf("no home: got %q, %q; want %q", c.DataDir, c.ConfigDir, want)
	}
}

// TestDataDirOfWrongFiles: what else is wrong does not hide the running node.
func TestDataDirOfWrongFiles(t *testing.T) {
	type m = map[string]string
	for name, row := range map[string]struct {
		yaml  string
		flags m
		want  []string // nil: the directory is found
	}{
		"other keys":        {"interval: soon\ndata_dir: here\nlisen: 1\n", nil, nil},
		"the key":           {"interval: soon\ndata_dir: [here]\n", nil, []string{"nodeprobe.yaml:2: data_dir: want one value, got a list"}},
		"no YAML":           {"a: [", m{}, []string{"nodeprobe.yaml:1: not valid YAML: did not find expected node content"}},
		"no YAML, and flag": {"a: [", m{"data-dir": "here"}, nil},
		"flag of no number": {"", m{"data-dir": "here", "interval": "5"}, []string{`--interval: "5" has no unit; write "5s", or another of ms, s, m, h, d, w`}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := dirWith(t, settingsFile, row.yaml)
			write(t, filepath.Join(dir, seedFile), "{")
			t.Chdir(dir)
			got, err := DataDir(source(t.TempDir(), row.flags, m{"CONFIG_DIR": dir}))
			if row.want == nil && (err != nil || filepath.Base(got) != "here") {
				t.Errorf("got %q, %v", got, err)
			}
			if row.want != nil && (err == nil || !slices.Equal(messages(t, dir, err), row.want)) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}
