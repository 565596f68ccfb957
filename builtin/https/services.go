package https

import (
	"encoding/base64"
	"slices"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// Limits of what a node says of its services.
const (
	maxServices    = 8
	maxServiceName = 32
	maxServiceKey  = 64 // bytes, decoded
)

// services reads what the node runs for others, with the keys for this one. What
// is too much is dropped: it costs nobody a poll.
func (p *parser) services(seen *members) error {
	if err := seen.add(bitServices); err != nil {
		return err
	}
	if p.peek() != '[' {
		p.info.dropped++
		return p.skip()
	}
	return p.array(p.service)
}

func (p *parser) service() error {
	var s sdk.Service
	var seen members
	ok, err := p.entry(func(name []byte) (bool, error) {
		switch string(name) {
		case "name":
			return p.value(&seen, bitName, func(v []byte) bool {
				s.Name = string(v)
				return isServiceName(v)
			})
		case "port":
			return p.hintPort(&seen, &s.Port)
		case "key":
			return p.value(&seen, bitKey, func(v []byte) (ok bool) {
				s.Key, ok = serviceKey(v)
				return ok
			})
		default:
			return true, p.skip()
		}
	})
	if err != nil || !ok {
		return err
	}
	twice := slices.ContainsFunc(p.info.services, func(o sdk.Service) bool { return o.Name == s.Name })
	if s.Name == "" || s.Port == 0 || len(s.Key) == 0 || twice || len(p.info.services) == maxServices {
		p.info.dropped++
		return nil
	}
	p.info.services = append(p.info.services, s)
	return nil
}

func isServiceName(v []byte) bool {
	if len(v) == 0 || len(v) > maxServiceName || v[0] < 'a' || v[0] > 'z' {
		return false
	}
	for _, c := range v {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

func serviceKey(v []byte) (key []byte, ok bool) {
	if len(v) > base64.StdEncoding.EncodedLen(maxServiceKey) {
		return nil, false
	}
	key, err := base64.StdEncoding.Strict().AppendDecode(nil, v)
	return key, err == nil && len(key) > 0 && len(key) <= maxServiceKey
}
