package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/seahow-uk/nodeprobe/core"
)

// seeds reads seed.json.
func (l *loader) seeds() {
	l.jsonFile(seedFile, func(d *decoder) reader { return d.seeds(&l.c.Seeds) })
}

// reporting reads reportingserver.json.
func (l *loader) reporting() {
	l.jsonFile(reportingFile, func(d *decoder) reader { return d.reporting(&l.c.Report) })
	if l.c.Report != nil {
		l.c.Report.Every = l.c.ReportEvery
	}
}

// jsonFile reads the file from the config directory or else the data
// directory. A file that cannot be read does not make the other one count.
func (l *loader) jsonFile(name string, read func(*decoder) reader) {
	file := filepath.Join(l.c.ConfigDir, name)
	data, err := l.read(file)
	if data == nil && err == nil && l.c.DataDir != l.c.ConfigDir {
		file = filepath.Join(l.c.DataDir, name)
		data, err = l.read(file)
	}
	if data == nil || err != nil {
		return
	}
	d := newDecoder(file)
	d.json = true
	n, err := parseJSON(data)
	l.decode(d, n, err, read(d))
}

// seeds reads {"nodes":[{"fqdn","ip","port","id"}]}.
func (d *decoder) seeds(to *[]Seed) reader {
	return func(n *yaml.Node, path string) {
		nodes := 0
		list := d.list(d.seed(to))
		d.object(fields{"nodes": func(n *yaml.Node, path string) {
			nodes++
			list(n, path)
		}})(n, path)
		if nodes == 0 && n.Kind == yaml.MappingNode {
			d.failf(n, "nodes", `missing; want {"nodes": [{"fqdn": "node1.example.com", "ip": "192.168.1.100"}]}`)
		}
	}
}

func (d *decoder) seed(to *[]Seed) reader {
	return func(n *yaml.Node, path string) {
		s := Seed{Port: core.DefaultPort}
		errs := len(d.errs)
		d.object(fields{
			"fqdn": typed(d, "!!str", "text", &s.FQDN, hostName),
			"ip":   typed(d, "!!str", "text", &s.IP, address),
			"port": typed(d, "!!int", "a number", &s.Port, portNumber),
			"id":   typed(d, "!!str", "text", &s.ID, nodeID),
		})(n, path)
		if len(d.errs) > errs {
			return
		}
		if s.FQDN == "" && s.IP == "" {
			d.failf(n, path, `names no node; want "fqdn" or "ip"`)
			return
		}
		*to = append(*to, s)
	}
}

// reporting reads {"server_fqdn","server_ip","server_port"}.
func (d *decoder) reporting(to **ReportingServer) reader {
	return func(n *yaml.Node, path string) {
		r := ReportingServer{Port: core.DefaultPort}
		errs := len(d.errs)
		d.object(fields{
			"server_fqdn": typed(d, "!!str", "text", &r.FQDN, hostName),
			"server_ip":   typed(d, "!!str", "text", &r.IP, address),
			"server_port": typed(d, "!!int", "a number", &r.Port, portNumber),
		})(n, path)
		if len(d.errs) > errs {
			return
		}
		if r.FQDN == "" && r.IP == "" {
			d.failf(n, path, `names no server; want "server_fqdn" or "server_ip"`)
			return
		}
		*to = &r
	}
}

// hostName normalises a host name; empty stays empty, as the original allows.
func hostName(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	e, err := core.NewEndpoint(s, core.DefaultPort)
	switch {
	case err == nil && e.IP().IsValid():
		return "", fmt.Errorf("%q is an address, not a name; give it as the ip", s)
	case err != nil:
		return "", fmt.Errorf(`%.80q is not a host name; want one such as "node1.example.com"`, s)
	}
	return e.Host, nil
}

// address normalises an IP address; empty stays empty, as the original allows.
func address(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return "", fmt.Errorf(`%.80q is not an IP address; want one such as "192.168.1.100" or "fd00::1"`, s)
	}
	if ip = ip.Unmap(); !ofOneHost(ip) {
		return "", fmt.Errorf("%q is not the address of one host", s)
	}
	return ip.String(), nil
}

// ofOneHost tells that ip can be dialled: it is not "this network" (RFC 1122,
// section 3.2.1.3), multicast, reserved or broadcast.
func ofOneHost(ip netip.Addr) bool {
	if ip.Is4() {
		first := ip.As4()[0]
		return first != 0 && first < 224
	}
	return !ip.IsUnspecified() && !ip.IsMulticast()
}

func portNumber(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%.20s is not a port; want 1 to 65535", s)
	}
	return uint16(n), nil
}

func nodeID(s string) (core.NodeID, error) {
	id, err := core.ParseNodeID(s)
	if err != nil || id.IsZero() {
		return core.NodeID{}, errors.New(`not a node id; want a UUID, as "nodeprobe status" shows it`)
	}
	return id, nil
}
