package core

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// NodeID names a node: a UUID. The zero value means "not known". It prints,
// parses and logs as the canonical 36-character form; zero is the empty string.
type NodeID uuid.UUID

// ParseNodeID reads the canonical form. The error says what is wrong with s.
func ParseNodeID(s string) (NodeID, error) {
	if len(s) != 36 {
		return NodeID{}, fmt.Errorf("node id %.40q: want a UUID of 36 characters", s)
	}
	u, err := uuid.Parse(s)
	if err != nil {
		return NodeID{}, fmt.Errorf("node id %q: %w", s, err)
	}
	return NodeID(u), nil
}

// IsZero tells that the id is not known.
func (id NodeID) IsZero() bool { return id == NodeID{} }

// String is the canonical form, or empty for the zero id.
func (id NodeID) String() string {
	if id.IsZero() {
		return ""
	}
	return uuid.UUID(id).String()
}

// Short is the first eight digits, for people.
func (id NodeID) Short() string {
	if id.IsZero() {
		return ""
	}
	return hex.EncodeToString(id[:4])
}

// MarshalText implements encoding.TextMarshaler.
func (id NodeID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; empty is the zero id.
func (id *NodeID) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = NodeID{}
		return nil
	}
	v, err := ParseNodeID(string(text))
	if err != nil {
		return err
	}
	*id = v
	return nil
}

// KeyHash is the SHA-256 of a certificate's SubjectPublicKeyInfo. Trust is
// decided on it, never on the shorter NodeID. Zero means "not known".
type KeyHash [sha256.Size]byte

// IsZero tells that the hash is not known.
func (h KeyHash) IsZero() bool { return h == KeyHash{} }

// String is 64 hexadecimal digits, or empty for the zero hash.
func (h KeyHash) String() string {
	if h.IsZero() {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// NodeID is the id that follows from a key: a version 8 UUID (RFC 9562, section
// 5.8) of SHA-256("nodeprobe-node-id-v1" 0x00 hash). It is made from the hash
// of the key, not from the key, so that whoever knows what a handshake proved
// can check an id; nobody can claim an id without its key.
func (h KeyHash) NodeID() NodeID {
	sum := sha256.Sum256(append([]byte("nodeprobe-node-id-v1\x00"), h[:]...))
	id := NodeID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseKeyHash reads 64 hexadecimal digits.
func ParseKeyHash(s string) (KeyHash, error) {
	var h KeyHash
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) {
		return h, fmt.Errorf("key hash %.70q: want 64 hexadecimal digits", s)
	}
	copy(h[:], b)
	return h, nil
}

// Endpoint is where a node can be dialled: a host name or an IP literal, and a
// TCP port. Port is never 0 in an endpoint that leaves a parser.
type Endpoint struct {
	Host string
	Port uint16
}

// DefaultPort is the port of the wire contract.
const DefaultPort = 443

// ParseEndpoint reads "host:port", "[v6]:port" or "host" (then the port is def).
// Host names are LDH labels of at most 253 bytes in all, lower-cased; IP
// literals are brought into canonical form and have no zone.
func ParseEndpoint(s string, def uint16) (Endpoint, error) {
	host, port := s, def
	if h, p, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return Endpoint{}, fmt.Errorf("endpoint %.80q: port must be 1 to 65535", s)
		}
		host, port = h, uint16(n)
	}
	return NewEndpoint(host, port)
}

// NewEndpoint checks and normalises host as ParseEndpoint does.
func NewEndpoint(host string, port uint16) (Endpoint, error) {
	if port == 0 {
		return Endpoint{}, fmt.Errorf("endpoint %.80q: port must be 1 to 65535", host)
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		if ip.Zone() != "" {
			return Endpoint{}, fmt.Errorf("endpoint %.80q: zones are not allowed", host)
		}
		return Endpoint{ip.Unmap().String(), port}, nil
	}
	if !ValidHostName(host) {
		return Endpoint{}, fmt.Errorf("endpoint %.80q: want an IP address or a host name", host)
	}
	return Endpoint{strings.ToLower(strings.TrimSuffix(host, ".")), port}, nil
}

// IP is the address, invalid when Host is a name.
func (e Endpoint) IP() netip.Addr {
	ip, _ := netip.ParseAddr(e.Host)
	return ip
}

// String is "host:port", with brackets around IPv6.
func (e Endpoint) String() string {
	if e == (Endpoint{}) {
		return ""
	}
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// ValidHostName tells that s is a host name: labels of letters, digits, hyphens
// and (as seen in container names) underscores, 63 bytes a label, 253 in all,
// and not a number such as 0177.1, which resolvers take for an address.
func ValidHostName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	last := labels[len(labels)-1]
	numeric := strings.Trim(last, "0123456789") == "" || strings.HasPrefix(strings.ToLower(last), "0x")
	return !numeric
}

// State is what self concludes about a peer.
type State string

// The states of a peer. On the wire, is_active is alive or suspect.
const (
	StateAlive       State = "alive"       // answered its last poll
	StateSuspect     State = "suspect"     // missed one; confirmation under way
	StateDown        State = "down"        // missed the confirmations too
	StateLeft        State = "left"        // said goodbye
	StateQuarantined State = "quarantined" // shows another key than the pinned one
)

// Active is is_active of the wire contract.
func (s State) Active() bool { return s == StateAlive || s == StateSuspect }

// FoundByCaller is who discovered a node that called self. On the wire it is
// self's id.
const FoundByCaller = "caller"

// Node is a peer that self has shaken hands with. Self is never a Node of its
// own list. All times are by self's clock; zero means never.
type Node struct {
	ID  NodeID
	Key KeyHash
	// Proven tells that ID follows from Key; false for nodes of the original
	// NodeProbe, whose id is a claim.
	Proven bool
	// FQDN is what the node calls itself; may be empty.
	FQDN string
	// Endpoints to dial, the one that worked last first; never empty.
	Endpoints []Endpoint
	Version   string
	BootID    string
	// DiscoveredBy is "seed", [FoundByCaller], "report" or the id of the peer that
	// named it.
	DiscoveredBy string
	// Seed tells that an entry of seed.json turned out to be this node: it
	// never expires.
	Seed bool

	State State
	// Reason and Message tell why the state is not alive.
	Reason  Reason
	Message string
	// Since is when State was entered.
	Since     time.Time
	FirstSeen time.Time
	// LastSeen is the last successful run of an identifying probe.
	LastSeen time.Time
	// Failures counts the runs missed in a row.
	Failures int
}

// Name is the FQDN, or else the first endpoint's host, or else the short id.
func (n Node) Name() string {
	switch {
	case n.FQDN != "":
		return n.FQDN
	case len(n.Endpoints) > 0:
		return n.Endpoints[0].Host
	default:
		return n.ID.Short()
	}
}

// Address is the first endpoint, host:port; empty without one.
func (n Node) Address() string {
	if len(n.Endpoints) == 0 {
		return ""
	}
	return n.Endpoints[0].String()
}

// IP is the first IP address among the endpoints; may be invalid.
func (n Node) IP() netip.Addr {
	for _, e := range n.Endpoints {
		if ip := e.IP(); ip.IsValid() {
			return ip
		}
	}
	return netip.Addr{}
}

// Self is the node that this process is.
type Self struct {
	ID      NodeID
	Key     KeyHash
	FQDN    string
	Version string
	// BootID is new at every start.
	BootID string
	// Advertise is where peers can dial self; IP literal or name.
	Advertise Endpoint
	Started   time.Time
}
