package wire

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// MaxNodes is how many nodes one message may list, in both directions.
const MaxNodes = 2000

// Proto is the version of the additive part of the contract.
const Proto = 1

// NodeInfo is the answer to GET /nodeinfo. The first four fields are the
// original contract and are always there; the others are ours, and nodes of
// the original ignore them.
type NodeInfo struct {
	ID    string `json:"id"`
	FQDN  string `json:"fqdn"`
	IP    string `json:"ip"`
	Nodes []Node `json:"nodes"`

	Port    uint16 `json:"port"`
	SPKI    string `json:"spki_sha256"`
	Version string `json:"version"`
	BootID  string `json:"boot_id"`
	Proto   int    `json:"proto"`
	// View is what the node has measured about its peers lately; only in
	// answers to verified peers.
	View []Path `json:"view,omitempty"`
	// Services of the node, with the keys for the caller; only in answers to
	// verified peers, see [AddServices].
	Services []Service `json:"services,omitempty"`
}

// Service is what a node runs beside its HTTPS server, for the caller alone.
type Service struct {
	Name string `json:"name"`
	Port uint16 `json:"port"`
	// Key is in base64. It is a secret of the two nodes.
	Key []byte `json:"key"`
}

// AddServices is the encoded info with services. It shares nothing with info,
// which may be the same for many callers; without services it is info itself.
func AddServices(info []byte, services []core.Service) []byte {
	if len(services) == 0 {
		return info
	}
	list := make([]Service, len(services))
	for i, s := range services {
		list[i] = Service{s.Name, s.Port, []byte(s.Key)}
	}
	tail := encode(list)
	body := info[:len(info)-1] // the brace
	out := make([]byte, 0, len(body)+len(tail)+len(`,"services":}`))
	return append(append(append(append(out, body...), `,"services":`...), tail...), '}')
}

// Node is a node as another one passes it on.
type Node struct {
	ID           string    `json:"id"`
	FQDN         string    `json:"fqdn"`
	IP           string    `json:"ip"`
	DiscoveredBy string    `json:"discovered_by"`
	FirstSeen    time.Time `json:"first_seen"`
	LastSeen     time.Time `json:"last_seen"`
	IsActive     bool      `json:"is_active"`
	// Port is ours; 0 or absent means 443.
	Port uint16 `json:"port,omitempty"`
}

// NewNodeInfo is what self tells about itself and about nodes, at most
// MaxNodes of them and never itself. A nil view is left out.
func NewNodeInfo(self core.Self, ip string, nodes []core.Node, view []core.PathStatus) NodeInfo {
	info := NodeInfo{
		ID: self.ID.String(), FQDN: self.FQDN, IP: ip, Nodes: NewNodes(self.ID, nodes),
		Port: self.Advertise.Port, SPKI: self.Key.String(),
		Version: self.Version, BootID: self.BootID, Proto: Proto,
	}
	if info.FQDN == "" {
		info.FQDN = self.Advertise.Host
	}
	for _, p := range view {
		if p.Source == self.ID && p.Destination != self.ID && len(info.View) < MaxPaths {
			p.Message = "" // for people at the source; peers need the word only
			info.View = append(info.View, NewPath(p))
		}
	}
	return info
}

// NewNodes lists nodes without the one named self, which is who discovered those
// that called it; never nil.
func NewNodes(self core.NodeID, nodes []core.Node) []Node {
	out := make([]Node, 0, min(len(nodes), MaxNodes))
	for _, n := range nodes {
		if n.ID == self || len(out) == MaxNodes {
			continue
		}
		w := NewNode(n)
		if w.DiscoveredBy == core.FoundByCaller { // nodes of the original do not know this word
			w.DiscoveredBy = self.String()
		}
		out = append(out, w)
	}
	return out
}

// NewNode converts n. Nodes of the original dial fqdn and use the ip only when
// there is none: a node without a name is sent with its address as name.
func NewNode(n core.Node) Node {
	w := Node{
		ID: n.ID.String(), FQDN: n.FQDN, DiscoveredBy: n.DiscoveredBy,
		FirstSeen: utc(n.FirstSeen), LastSeen: utc(n.LastSeen), IsActive: n.State.Active(),
	}
	if w.FQDN == "" && len(n.Endpoints) > 0 {
		w.FQDN = n.Endpoints[0].Host
	}
	if len(n.Endpoints) > 0 {
		w.Port = n.Endpoints[0].Port
	}
	if i := slices.IndexFunc(n.Endpoints, func(e core.Endpoint) bool { return e.IP().IsValid() }); i >= 0 {
		w.IP, w.Port = n.Endpoints[i].Host, n.Endpoints[i].Port // a name may be forwarded from another port
	}
	return w
}

// Encode is the body of the answer.
func (i NodeInfo) Encode() []byte { return encode(i) }

// encode cannot fail: the shapes of this package hold only finite numbers and
// times that RFC 3339 can write.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("wire: encode: " + err.Error())
	}
	return b
}
