package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// invalid are the files of testdata and exactly what is said about each.
func invalid() map[string][]string {
	return map[string][]string{
		"invalid-bomb.yaml": {
			"nodeprobe.yaml:4: probes.bomb.config.e[7][8][8][8][5]: too much: more than 100000 values",
		},
		"invalid-bounds.yaml": {
			"nodeprobe.yaml:1: interval: 2d is too long; want 1s to 24h",
			`nodeprobe.yaml:2: trust: want one value, got a list`,
			`nodeprobe.yaml:4: storage.max_size: 64KiB is too small; at least 1MB`,
			"nodeprobe.yaml:5: storage.raw: 59m is too short; want 1h to 3650d",
			"nodeprobe.yaml:6: storage.rollup: 4000d is too long; want 1h to 3650d",
			"nodeprobe.yaml:8: report.every: want one value, got keys and values",
			`nodeprobe.yaml:9: listen: "localhost" is not an address to listen on; want ":8443", "192.168.1.10:8443" or "[fd00::1]:8443"`,
			`nodeprobe.yaml:10: advertise: "a b" is not an address to dial; want "host", "host:port" or "[fd00::1]:8443"`,
		},
		"invalid-dsn.yaml": {
			`nodeprobe.yaml:1: storage.dsn: not the URL of a PostgreSQL database; want one such as "postgres://user:password@db.example.com/nodeprobe"`,
		},
		"invalid-dsn-database.yaml": {
			`nodeprobe.yaml:1: storage.dsn: names no database; want one behind the host, such as "postgres://db.example.com/nodeprobe"`,
		},
		"invalid-config.yaml": {
			"nodeprobe.yaml:5: probes.a.config.nan: the number .nan cannot be told to a plugin",
			"nodeprobe.yaml:6: probes.a.config.blob: the type !!binary is not supported; quote the value",
			"nodeprobe.yaml:8: probes.a.config.twice: given twice; first in line 7",
			"nodeprobe.yaml:10: probes.deep.config.a[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 16 levels",
		},
		"invalid-duplicates.yaml": {
			"nodeprobe.yaml:4: log.level: given twice; first in line 3",
			"nodeprobe.yaml:5: interval: given twice; first in line 1",
		},
		"invalid-loop.yaml": {
			"nodeprobe.yaml:3: probes.loop.config.x[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0][0]: nested deeper than 16 levels",
		},
		"invalid-plugins.yaml": {
			"nodeprobe.yaml:2: plugins.directory: want one value, got a list",
			`nodeprobe.yaml:5: plugins.enabled.https.sha256: "0123" is not a SHA-256; want 64 hexadecimal digits`,
			`nodeprobe.yaml:5: plugins.enabled.https: "https" is the name of a plugin that ships; choose another`,
			`nodeprobe.yaml:7: plugins.enabled.escape.command: "../escape" is not in the plugin directory; want the name of an executable there`,
			`nodeprobe.yaml:9: plugins.enabled.escape.grants[0]: "identiti" is not known; did you mean "identity"? valid: identity, services`,
			`nodeprobe.yaml:9: plugins.enabled.escape.grants[1]: "service.Bad": want service. and the name of a service, a-z, 0-9 and hyphens, at most 32`,
			"nodeprobe.yaml:10: plugins.enabled.escape.memory_limit: 1MiB is too small; at least 32MiB",
			`nodeprobe.yaml:11: plugins.enabled.escape.env."A B": not the name of a variable; want letters, digits and _`,
			"nodeprobe.yaml:11: plugins.enabled.escape.env.C: want one value, got a list",
			`nodeprobe.yaml:12: plugins.enabled.escape.args: want a list, got the text "--flag"`,
			`nodeprobe.yaml:13: plugins.enabled.bare.sha256: missing; want what "sha256sum bare" prints`,
			"nodeprobe.yaml:14: plugins.enabled..hidden: not a name; want a letter, then letters, digits, - and _, all lower case, at most 63",
		},
		"invalid-probes.yaml": {
			"nodeprobe.yaml:2: probes.Https: not a name; want a letter, then letters, digits, - and _, all lower case, at most 63",
			"nodeprobe.yaml:5: probes.slow.timeout: 9s is too long for the interval of 10s; at most 8s (80 % of it)",
			"nodeprobe.yaml:7: probes.quick.interval: 100ms is too short; want 1s to 24h",
			`nodeprobe.yaml:9: probes.zero.interval: "0s" is no time at all; want a duration, or remove the line for the default`,
			"nodeprobe.yaml:10: probes.zero.timeout: 1µs is too short; want 10ms to 19h12m",
			`nodeprobe.yaml:12: probes.typed.plugin: "hhtps" is not known; did you mean "https"? valid: https, report`,
			`nodeprobe.yaml:13: probes.typed.kind: "" is not a name; want a letter, then letters, digits, - and _, all lower case, at most 63`,
			`nodeprobe.yaml:14: probes.typed.enabled: want true or false, got the text "yes"`,
			"nodeprobe.yaml:15: probes.typed.config: want keys and values, got a list",
			"nodeprobe.yaml:16: probes.number: want keys and values, got the number 5",
			"nodeprobe.yaml:19: reporters.chat.interval: unknown key; valid: config, enabled, kind, plugin",
			`nodeprobe.yaml:20: reporters.chat.plugin: "no such" is not a name; want a letter, then letters, digits, - and _, all lower case, at most 63`,
			`nodeprobe.yaml:21: reporters.chat.enabled: want true or false, got the text "maybe"`,
		},
		"invalid-reporting-empty.json": {
			`reportingserver.json:1: names no server; want "server_fqdn" or "server_ip"`,
		},
		"invalid-reporting.json": {
			`reportingserver.json:2: server_fqdn: "https://reporting.example.com/" is not a host name; want one such as "node1.example.com"`,
			`reportingserver.json:3: server_ip: "300.1.1.1" is not an IP address; want one such as "192.168.1.100" or "fd00::1"`,
			"reportingserver.json:4: server_port: want a number, got the number 443.5",
			"reportingserver.json:5: fqdn: unknown key; valid: server_fqdn, server_ip, server_port",
		},
		"invalid-root.yaml": {
			"nodeprobe.yaml:1: want keys and values, got a list",
		},
		"invalid-seeds-case.json": {
			`seed.json:1: Nodes: unknown key; did you mean "nodes"? valid: nodes`,
			`seed.json:1: nodes: missing; want {"nodes": [{"fqdn": "node1.example.com", "ip": "192.168.1.100"}]}`,
		},
		"invalid-seeds-comma.json": {
			"seed.json:4: not valid JSON: invalid character ']' looking for beginning of value",
		},
		"invalid-seeds-cut.json": {
			"seed.json:1: not valid JSON: unexpected end of JSON input",
		},
		"invalid-seeds-deep.json": {
			"seed.json:2: nested deeper than 16 levels",
		},
		"invalid-seeds-empty.json": {
			`seed.json:1: nodes: missing; want {"nodes": [{"fqdn": "node1.example.com", "ip": "192.168.1.100"}]}`,
		},
		"invalid-seeds-list.json": {
			"seed.json:1: want keys and values, got a list",
		},
		"invalid-seeds-nodes-null.json": {
			"seed.json:1: nodes: must not be null",
		},
		"invalid-seeds-nothing.json": {
			"seed.json:1: not valid JSON: unexpected end of JSON input",
		},
		"invalid-seeds-null.json": {
			"seed.json:1: must not be null",
		},
		"invalid-seeds-trailing.json": {
			"seed.json:2: not valid JSON: invalid character '{' after top-level value",
		},
		"invalid-seeds.json": {
			`seed.json:3: nodes[0].prot: unknown key; did you mean "port"? valid: fqdn, id, ip, port`,
			`seed.json:4: nodes[1].fqdn: "192.168.1.1" is an address, not a name; give it as the ip`,
			`seed.json:4: nodes[1].ip: "node2.example.com" is not an IP address; want one such as "192.168.1.100" or "fd00::1"`,
			`seed.json:5: nodes[2].fqdn: "-bad-" is not a host name; want one such as "node1.example.com"`,
			`seed.json:5: nodes[2].ip: "0.0.0.0" is not the address of one host`,
			"seed.json:5: nodes[2].port: 70000 is not a port; want 1 to 65535",
			`seed.json:6: nodes[3]: names no node; want "fqdn" or "ip"`,
			"seed.json:7: nodes[4].fqdn: want text, got the number 5",
			"seed.json:7: nodes[4].ip: want one value, got nothing",
			`seed.json:7: nodes[4].port: want a number, got the text "443"`,
			`seed.json:7: nodes[4].id: not a node id; want a UUID, as "nodeprobe status" shows it`,
			"seed.json:8: nodes[5].fqdn: given twice; first in line 8",
			`seed.json:9: nodes[6]: want keys and values, got the text "node7"`,
			`seed.json:10: nodes[7].ip: "fe80::1%eth0" is not an IP address; want one such as "192.168.1.100" or "fd00::1"`,
			"seed.json:10: nodes[7].port: 0 is not a port; want 1 to 65535",
			`seed.json:11: nodes[8].ip: "255.255.255.255" is not the address of one host`,
			`seed.json:11: nodes[9].ip: "0.1.2.3" is not the address of one host`,
			`seed.json:11: nodes[10].ip: "240.0.0.1" is not the address of one host`,
			`seed.json:11: nodes[11].ip: "::ffff:224.0.0.1" is not the address of one host`,
			"seed.json:13: nodes: given twice; first in line 2",
			`seed.json:14: node: unknown key; did you mean "nodes"? valid: nodes`,
		},
		"invalid-shapes.yaml": {
			`nodeprobe.yaml:1: log: want keys and values, got the text "info"`,
			"nodeprobe.yaml:2: probes: want keys and values, got a list",
			`nodeprobe.yaml:4: discovery.deny_cidrs: want a list, got the text "10.0.0.0/8"`,
			"nodeprobe.yaml:5: listen: want one value, got nothing",
			"nodeprobe.yaml:6: interval: want one value, got keys and values",
			"nodeprobe.yaml:8: storage: merge keys (<<) are not supported; write the keys out",
			"nodeprobe.yaml:9: storage: a key must be a word, got a list",
		},
		"invalid-syntax.yaml": {
			"nodeprobe.yaml:2: not valid YAML: did not find expected node content",
		},
		"invalid-tab.yaml": {
			"nodeprobe.yaml:3: not valid YAML: found character that cannot start any token; indent with spaces, not tabs, and quote text that begins with @, ` or %",
		},
		"invalid-two.yaml": {
			"nodeprobe.yaml:2: a second document; want only one",
		},
		"invalid-unknown-keys.yaml": {
			`nodeprobe.yaml:1: listne: unknown key; did you mean "listen"? valid: advertise, cert_dir, data_dir, discovery, interval, listen, log, node_name, plugins, probes, report, reporters, storage, trust, web`,
			`nodeprobe.yaml:3: log.levl: unknown key; did you mean "level"? valid: format, level`,
			`nodeprobe.yaml:7: probes.https.intervall: unknown key; did you mean "interval"? valid: config, enabled, interval, kind, plugin, timeout`,
			`nodeprobe.yaml:9: "a b ": unknown key; valid: advertise, cert_dir, data_dir, discovery, interval, listen, log, node_name, plugins, probes, report, reporters, storage, trust, web`,
			"nodeprobe.yaml:10: colour: unknown key; valid: advertise, cert_dir, data_dir, discovery, interval, listen, log, node_name, plugins, probes, report, reporters, storage, trust, web",
		},
		"invalid-values.yaml": {
			`nodeprobe.yaml:1: listen: 8443 is only a port; write ":8443"`,
			`nodeprobe.yaml:2: advertise: "0.0.0.0:8443" is not the address of one host; peers could not dial it`,
			`nodeprobe.yaml:3: node_name: "-x-" is not a host name; want one such as "node1.example.com"`,
			`nodeprobe.yaml:4: interval: "30" has no unit; write "30s", or another of ms, s, m, h, d, w`,
			`nodeprobe.yaml:5: trust: "tofo" is not known; did you mean "tofu"? valid: open, tofu`,
			`nodeprobe.yaml:7: log.level: "warning" is not known; did you mean "warn"? valid: trace, debug, info, warn, error`,
			"nodeprobe.yaml:8: log.format: want text, got the number 7",
			`nodeprobe.yaml:10: discovery.allow_cidrs[0]: "10.0.0.5" is one address; write "10.0.0.5/32"`,
			`nodeprobe.yaml:10: discovery.allow_cidrs[1]: "10.0.0.5/8" has bits beyond its length; write "10.0.0.0/8"`,
			`nodeprobe.yaml:10: discovery.allow_cidrs[2]: "hello" is not a network; want one such as "10.0.0.0/8" or "fd00::/8"`,
			`nodeprobe.yaml:10: discovery.allow_cidrs[3]: "::ffff:10.0.0.0/104" is not a network; want one such as "10.0.0.0/8" or "fd00::/8"`,
			`nodeprobe.yaml:12: storage.max_size: "10" has no unit; write "10MB", or another of B, kB, MB, GB, KiB, MiB, GiB`,
			`nodeprobe.yaml:13: storage.raw: "30min" is not a duration; want one such as "30s", "5m", "36h" or "7d"`,
			"nodeprobe.yaml:14: storage.rollup: 12h is shorter than storage.raw; at least 24h",
			"nodeprobe.yaml:16: report.every: 500ms is too short; want 1s to 24h",
			`nodeprobe.yaml:18: web.allowed_hosts[1]: "http://x/" is neither a host name nor an IP address`,
		},
	}
}

func TestInvalidFiles(t *testing.T) {
	rows := invalid()
	files, err := filepath.Glob("testdata/invalid-*")
	if err != nil || len(files) != len(rows) {
		t.Fatalf("got %d files, %d rows, %v; want a row for each file", len(files), len(rows), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := dirWith(t, fileKind(file), string(text))
			src := source(t.TempDir(), map[string]string{"config-dir": dir}, nil)
			src.Builtin = []string{"https", "report"}
			_, err = Load(src)
			if got, want := messages(t, dir, err), rows[filepath.Base(file)]; !slices.Equal(got, want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// fileKind is the name that Load looks for, told by the name of a test file.
func fileKind(name string) string {
	switch {
	case strings.Contains(name, "-seeds"):
		return seedFile
	case strings.Contains(name, "-reporting"):
		return reportingFile
	}
	return settingsFile
}

func TestAllFilesAreToldAtOnce(t *testing.T) {
	dir := dirWith(t, settingsFile, "interval: 30\n")
	write(t, filepath.Join(dir, seedFile), `{"nodes":[{}]}`)
	write(t, filepath.Join(dir, reportingFile), "x")
	src := source(t.TempDir(), map[string]string{"config-dir": dir, "log-level": "loud"}, map[string]string{"NODEPROBE_ADVERTISE": "::", "NODEPROBE_LOG_FORMAT": "xml"})
	src.Environ = []string{"NODEPROBE_ADVERTISE=::", "NODEPROBE_LISTN=:1"}
	_, err := Load(src)
	want := []string{
		`NODEPROBE_LISTN: unknown variable; did you mean "NODEPROBE_LISTEN"? valid: NODEPROBE_CONFIG, NODEPROBE_CONFIG_DIR, NODEPROBE_DATA_DIR, ` +
			"NODEPROBE_CERT_DIR, NODEPROBE_LISTEN, NODEPROBE_ADVERTISE, NODEPROBE_NODE_NAME, NODEPROBE_INTERVAL, NODEPROBE_LOG_LEVEL, NODEPROBE_LOG_FORMAT, NODEPROBE_STORAGE_DSN",
		`NODEPROBE_ADVERTISE: "::" is not the address of one host; peers could not dial it`,
		`--log-level: "loud" is not known; valid: trace, debug, info, warn, error`,
		`NODEPROBE_LOG_FORMAT: "xml" is not known; valid: text, json`,
		`nodeprobe.yaml:1: interval: "30" has no unit; write "30s", or another of ms, s, m, h, d, w`,
		"reportingserver.json:1: not valid JSON: invalid character 'x' looking for beginning of value",
		`seed.json:1: nodes[0]: names no node; want "fqdn" or "ip"`,
	}
	if got := messages(t, dir, err); !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestHugeAndUnreadableFiles(t *testing.T) {
	for _, name := range []string{settingsFile, seedFile, reportingFile} {
		dir := dirWith(t, name, strings.Repeat(" ", maxFile+1))
		_, err := loadDir(t, dir)
		if got, want := messages(t, dir, err), []string{name + ": larger than 1MiB"}; !slices.Equal(got, want) {
			t.Errorf("huge %s: got %q, want %q", name, got, want)
		}
		dir = t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := loadDir(t, dir); err == nil {
			t.Errorf("%s is a directory: got no error", name)
		}
	}
}

func TestThousandsOfErrorsAreCounted(t *testing.T) {
	_, err := loadDir(t, dirWith(t, seedFile, `{"nodes":[`+strings.Repeat("5,", 4999)+"5]}"))
	if lines := strings.Split(err.Error(), "\n"); len(lines) != maxLines+1 || lines[maxLines] != "and 4900 more" {
		t.Errorf("got %d lines, last %q", len(lines), lines[len(lines)-1])
	}
}

func TestValidate(t *testing.T) {
	c := Default()
	if err := c.validate().err(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	c.Listen, c.Trust = "x", "y"
	if got, want := messages(t, "", c.validate().err()), []string{
		`listen: "x" is not an address to listen on; want ":8443", "192.168.1.10:8443" or "[fd00::1]:8443"`,
		`trust: "y" is not known; valid: open, tofu`,
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
