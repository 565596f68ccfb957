package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// Limits of the body of POST /report, in bytes: as it is sent, and after a
// Content-Encoding is undone. Every JSON limit of this package fits into them.
const (
	MaxBody     = 1 << 20
	MaxInflated = 4 << 20
)

// Report is the body of POST /report: what a node knows of the network.
type Report struct {
	Timestamp time.Time `json:"timestamp"`
	NodeID    string    `json:"node_id"`
	Nodes     []Node    `json:"nodes"`
	// Paths are the sender's own results; ours.
	Paths []Path `json:"paths,omitempty"`
}

// EncodeSnapshot is the payload of a record of kind snapshot, which is also the
// body of POST /report. Of paths it takes those that self measured.
func EncodeSnapshot(self core.Self, at time.Time, nodes []core.Node, paths []core.PathStatus) []byte {
	r := Report{Timestamp: utc(at), NodeID: self.ID.String(), Nodes: NewNodes(self.ID, nodes)}
	for _, p := range paths {
		if p.Source == self.ID && len(r.Paths) < MaxPaths {
			r.Paths = append(r.Paths, NewPath(p))
		}
	}
	return encode(r)
}

// DecodeReport reads the body of POST /report, from nodes of the original and
// from ours. Unknown fields are allowed. The error names the first field that
// is wrong and says what is expected; it never holds more than a few bytes of
// data. It may be called concurrently.
func DecodeReport(data []byte) (Report, error) {
	if len(data) > MaxInflated {
		return Report{}, fmt.Errorf("longer than %d bytes", MaxInflated)
	}
	if err := checkObject(data); err != nil {
		return Report{}, err
	}
	var r Report
	if err := json.Unmarshal(data, &r); err != nil {
		return Report{}, typeError(err)
	}
	if err := r.check(); err != nil {
		return Report{}, err
	}
	return r, nil
}

// typeError says what encoding/json found without its words for Go types.
func typeError(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%.80s: a %s is not what belongs here", wrong.Field, wrong.Value)
	}
	var parse *time.ParseError
	if errors.As(err, &parse) || strings.HasPrefix(err.Error(), "Time.") { // as time says of what is no string
		return errors.New("a time is not in RFC 3339")
	}
	return fmt.Errorf("not a report: %.120s", err.Error())
}

// check also brings names and addresses into canonical form.
func (r *Report) check() error {
	switch {
	case !isUUID(r.NodeID):
		return errors.New("node_id: want a UUID")
	case r.Timestamp.IsZero() || !storable(r.Timestamp):
		return errors.New("timestamp: want " + wantTime)
	case len(r.Nodes) > MaxNodes:
		return fmt.Errorf("nodes: want at most %d", MaxNodes)
	}
	for i := range r.Nodes {
		if field, want := r.Nodes[i].check(); field != "" {
			return fmt.Errorf("nodes[%d].%s: want %s", i, field, want)
		}
	}
	for i := range r.Paths {
		if field, want := r.Paths[i].check(); field != "" {
			return fmt.Errorf("paths[%d].%s: want %s", i, field, want)
		}
	}
	return nil
}

func (n *Node) check() (field, want string) {
	name, nameOK := hostName(n.FQDN)
	ip, ipOK := address(n.IP)
	switch {
	case !isClaim(n.ID):
		return "id", "a UUID, seed-FQDN-IP or nothing"
	case !nameOK:
		return "fqdn", "a host name of at most 253 bytes or nothing"
	case !ipOK:
		return "ip", "an IP address or nothing"
	case !isPlain(n.DiscoveredBy):
		return "discovered_by", "seed, report, caller or an id"
	case !storable(n.FirstSeen):
		return "first_seen", wantTime
	case !storable(n.LastSeen):
		return "last_seen", wantTime
	}
	n.FQDN, n.IP = name, ip
	return "", ""
}

// Core converts a decoded report. from is the sender's address; verified tells
// that its key proved the id.
func (r Report) Core(from string, verified bool, received time.Time) core.Report {
	id, _ := core.ParseNodeID(r.NodeID)
	out := core.Report{Node: id, Verified: verified, From: from, Sent: r.Timestamp, Received: received}
	for _, n := range r.Nodes {
		out.Nodes = append(out.Nodes, core.ReportedNode{
			ID: n.ID, FQDN: n.FQDN, IP: n.IP, Port: n.Port, DiscoveredBy: n.DiscoveredBy,
			FirstSeen: n.FirstSeen, LastSeen: n.LastSeen, Active: n.IsActive,
		})
	}
	for _, p := range r.Paths {
		out.Paths = append(out.Paths, p.status(id))
	}
	return out
}

// NewReportedNode converts a node of a report back into what was sent.
func NewReportedNode(n core.ReportedNode) Node {
	return Node{
		ID: n.ID, FQDN: n.FQDN, IP: n.IP, Port: n.Port, DiscoveredBy: n.DiscoveredBy,
		FirstSeen: utc(n.FirstSeen), LastSeen: utc(n.LastSeen), IsActive: n.Active,
	}
}
