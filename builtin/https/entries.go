package https

import (
	"bytes"
	"fmt"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// entry reads the members of one entry of a list. set consumes a value and
// tells whether it can be used; the entry can be when all of them can.
func (p *parser) entry(set func(name []byte) (ok bool, err error)) (ok bool, err error) {
	if p.peek() != '{' {
		p.info.dropped++
		return false, p.skip()
	}
	good := true
	err = p.object(func(name []byte) error {
		ok, err := set(name)
		good = good && ok
		return err
	})
	if err != nil {
		return false, err
	}
	if !good {
		p.info.dropped++
	}
	return good, nil
}

// node reads an entry of nodes: hearsay. Its times are not read: nobody's clock
// but self's counts.
func (p *parser) node() error {
	var (
		hint = sdk.PeerHint{Port: defaultPort}
		seen members
		at   string
	)
	ok, err := p.entry(func(name []byte) (bool, error) {
		switch string(name) {
		case "id":
			return p.value(&seen, bitID, func(v []byte) bool {
				hint.NodeID = nodeID(v)
				return hint.NodeID != "" || len(v) == 0 || bytes.HasPrefix(v, []byte("seed-"))
			})
		case "fqdn":
			return p.value(&seen, bitFQDN, func(v []byte) (ok bool) {
				hint.FQDN, at, ok = hostOrAddress(v)
				return ok
			})
		case "ip":
			return p.value(&seen, bitIP, func(v []byte) bool { return setIP(&hint, v) })
		case "port":
			return p.hintPort(&seen, &hint.Port)
		case "is_active":
			v, ok, err := p.boolean()
			hint.Active = v
			return ok && seen.add(bitActive) == nil, err
		default:
			return true, p.skip()
		}
	})
	if err != nil || !ok {
		return err
	}
	if hint.IP == "" {
		hint.IP = at
	}
	if hint.FQDN == "" && hint.IP == "" {
		p.info.dropped++
		return nil
	}
	p.info.peers = append(p.info.peers, hint)
	return nil
}

func setIP(hint *sdk.PeerHint, v []byte) bool {
	if len(v) == 0 || string(v) == "unknown" {
		return true
	}
	ip := address(string(v))
	if !ip.IsValid() {
		return false
	}
	hint.IP = ip.String()
	return true
}

// value reads a string of an entry into set.
func (p *parser) value(seen *members, bit members, set func([]byte) bool) (bool, error) {
	twice := seen.add(bit) != nil
	v, ok, err := p.text()
	return err == nil && ok && !twice && set(v), err
}

func (p *parser) hintPort(seen *members, to *uint16) (bool, error) {
	twice := seen.add(bitPort) != nil
	v, ok, err := p.number()
	if err != nil || !ok || twice || v < 0 || v > 65535 || v != float64(uint16(v)) {
		return false, err
	}
	if v != 0 {
		*to = uint16(v)
	}
	return true, nil
}

// path reads an entry of view: a cell of the peer's row of the matrix.
func (p *parser) path() error {
	var cell sdk.PathView
	ok, err := p.entry(func(name []byte) (bool, error) { return p.cell(&cell, name) })
	if err != nil || !ok {
		return err
	}
	if cell.NodeID == "" || cell.Probe == "" || cell.Outcome == 0 || cell.At.IsZero() {
		p.info.dropped++
		return nil
	}
	p.info.view = append(p.info.view, cell)
	return nil
}

func (p *parser) cell(cell *sdk.PathView, name []byte) (ok bool, err error) {
	switch string(name) {
	case "destination":
		v, ok, err := p.text()
		cell.NodeID = nodeID(v)
		return ok, err
	case "probe":
		return p.word(&cell.Probe)
	case "reason":
		var reason string
		ok, err := p.word(&reason)
		cell.Reason = sdk.Reason(reason)
		return ok, err
	case "outcome":
		v, ok, err := p.text()
		cell.Outcome = outcome(v)
		return ok, err
	case "rtt_us":
		v, ok, err := p.number()
		ok = ok && v >= 0 && v <= float64(maxRTT/time.Microsecond)
		if ok {
			cell.RTT = time.Duration(v) * time.Microsecond
		}
		return ok, err
	case "at":
		v, ok, err := p.text()
		if err != nil || !ok {
			return false, err
		}
		at, bad := time.Parse(time.RFC3339, string(v))
		cell.At = at
		return bad == nil && at.Unix() >= 0 && at.UTC().Year() < 2200, nil
	case "metrics":
		return p.metrics(cell)
	default:
		return true, p.skip()
	}
}

func outcome(v []byte) sdk.Outcome {
	switch string(v) {
	case "success":
		return sdk.OutcomeSuccess
	case "failure":
		return sdk.OutcomeFailure
	case "unsupported":
		return sdk.OutcomeUnsupported
	case "plugin_error":
		return sdk.OutcomePluginError
	default:
		return 0
	}
}

// word reads a name, of which there are few in a body and each many times.
func (p *parser) word(to *string) (ok bool, err error) {
	v, ok, err := p.text()
	if err != nil || !ok || !isWord(v) {
		return false, err
	}
	*to = p.intern(v)
	return true, nil
}

func (p *parser) intern(v []byte) string {
	if s, ok := p.words[string(v)]; ok {
		return s
	}
	s := string(v)
	p.words[s] = s
	return s
}

func (p *parser) metrics(cell *sdk.PathView) (ok bool, err error) {
	if p.peek() != '{' {
		return false, p.skip()
	}
	good := true
	err = p.object(func(name []byte) error {
		named := isWord(name)
		metric := ""
		if named {
			metric = p.intern(name)
		}
		v, ok, err := p.number()
		if p.values++; p.values > maxValues {
			return fmt.Errorf("%w: more than %d metrics", errTooMany, maxValues)
		}
		good = good && named && ok && len(cell.Metrics) < maxMetrics
		if good {
			cell.Metrics = append(cell.Metrics, sdk.Metric{Name: metric, Value: v})
		}
		return err
	})
	return good, err
}
