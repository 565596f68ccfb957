package https

import (
	"errors"
	"fmt"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// Limits of one message, the same as the server's: nodes, and paths of five
// probes to each of them.
const (
	maxNodes   = 2000
	maxPaths   = 5 * maxNodes
	maxMetrics = 64           // of one path
	maxValues  = 8 * maxPaths // metrics of all paths: they take more memory than text
)

// defaultPort is where nodes listen that do not say.
const defaultPort = 443

// maxRTT is over any round trip that a probe waits for.
const maxRTT = time.Hour

// errTooMany is for a body that lists more than a mesh can have.
var errTooMany = errors.New("too many entries")

// nodeInfo is the body of GET /nodeinfo, as far as it can be used.
type nodeInfo struct {
	// id is a canonical UUID; the others are empty or 0 when the node does not
	// say, or says what cannot be.
	id, fqdn, version, bootID, key string
	port                           uint16
	services                       []sdk.Service
	peers                          []sdk.PeerHint
	view                           []sdk.PathView
	// dropped counts entries and fields that are not as they must be.
	dropped int
}

// parser fills a nodeInfo from a body.
type parser struct {
	scanner
	info nodeInfo
	// words keeps one copy of each probe's, reason's and metric's name.
	words map[string]string
	// values counts metrics.
	values int
}

// parseNodeInfo reads a body of the original contract or of ours. Unknown
// members are skipped, wrong entries dropped and counted. The error is
// errTooMany, or says why the body as a whole is not the contract.
func parseNodeInfo(data []byte) (nodeInfo, error) {
	p := parser{scanner: scanner{data: data}, words: make(map[string]string)}
	var seen members
	err := p.object(func(name []byte) error { return p.member(name, &seen) })
	if err == nil {
		err = p.end()
	}
	switch {
	case err != nil:
		return nodeInfo{}, err
	case p.info.id == "":
		return nodeInfo{}, errors.New("member id is not a UUID")
	case !seen.has(bitNodes):
		return nodeInfo{}, errors.New("member nodes is not there")
	}
	return p.info, nil
}

// members tells which known members an object has had so far.
type members uint16

const (
	bitID members = 1 << iota
	bitFQDN
	bitIP
	bitPort
	bitActive
	bitKey
	bitVersion
	bitBoot
	bitNodes
	bitView
	bitServices
	bitName
)

func (m members) has(bit members) bool { return m&bit != 0 }

// add notes a member; given twice, nobody can say which one counts.
func (m *members) add(bit members) error {
	if m.has(bit) {
		return errors.New("a member is given twice")
	}
	*m |= bit
	return nil
}

func (p *parser) member(name []byte, seen *members) error {
	switch string(name) {
	case "id":
		return p.field(seen, bitID, func(v []byte) bool {
			p.info.id = nodeID(v)
			return p.info.id != ""
		})
	case "fqdn":
		return p.field(seen, bitFQDN, func(v []byte) (ok bool) {
			p.info.fqdn, _, ok = hostOrAddress(v)
			return ok
		})
	case "version":
		return p.field(seen, bitVersion, freely(&p.info.version))
	case "boot_id":
		return p.field(seen, bitBoot, freely(&p.info.bootID))
	case "spki_sha256":
		return p.field(seen, bitKey, freely(&p.info.key))
	case "port":
		return p.portField(seen, &p.info.port)
	case "nodes":
		return p.list(seen, bitNodes, maxNodes, p.node)
	case "view":
		return p.list(seen, bitView, maxPaths, p.path)
	case "services":
		return p.services(seen)
	default:
		return p.skip()
	}
}

// field reads a string into set, and counts it as dropped if set does not take it.
func (p *parser) field(seen *members, bit members, set func([]byte) bool) error {
	if err := seen.add(bit); err != nil {
		return err
	}
	v, ok, err := p.text()
	if err == nil && (!ok || !set(v)) {
		p.info.dropped++
	}
	return err
}

func freely(to *string) func([]byte) bool {
	return func(v []byte) bool {
		if !isFree(v) {
			return false
		}
		*to = string(v)
		return true
	}
}

// portField reads a port; 0 is what a node writes that does not say.
func (p *parser) portField(seen *members, to *uint16) error {
	if err := seen.add(bitPort); err != nil {
		return err
	}
	v, ok, err := p.number()
	if err != nil {
		return err
	}
	if !ok || v < 0 || v > 65535 || v != float64(uint16(v)) {
		p.info.dropped++
		return nil
	}
	*to = uint16(v)
	return nil
}

// list reads an array of at most limit entries.
func (p *parser) list(seen *members, bit members, limit int, entry func() error) error {
	if err := seen.add(bit); err != nil {
		return err
	}
	if p.peek() != '[' {
		return fmt.Errorf("byte %d: a member is not the array that it must be", p.pos)
	}
	n := 0
	return p.array(func() error {
		if n++; n > limit {
			return fmt.Errorf("%w: a list of more than %d", errTooMany, limit)
		}
		return entry()
	})
}

// hostOrAddress reads what a node is called: the original writes "unknown" for
// what it does not know, and we an address for a node without a name.
func hostOrAddress(v []byte) (name, ip string, ok bool) {
	if len(v) == 0 || string(v) == "unknown" {
		return "", "", true
	}
	if len(v) > maxName+1 {
		return "", "", false
	}
	s := string(v)
	if a := address(s); a.IsValid() {
		return "", a.String(), true
	}
	return s, "", isHostName(s)
}
