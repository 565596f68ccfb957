package web

import (
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/wire"
)

// headerAdvertise is where callers tell which endpoint they listen on.
const headerAdvertise = "NodeProbe-Advertise"

// originalAgent is the User-Agent of nodes of the original NodeProbe; they
// listen on port 443 and send no client certificate.
const originalAgent = "NodeProbe/1.0"

// nodeInfo answers GET /nodeinfo. Verified peers also get self's view.
func (s *Server) nodeInfo(w http.ResponseWriter, r *http.Request, c caller) {
	s.learn(r, c)
	nodes, members := s.mesh.Shared()
	v := infoVersion{members: members, full: c.verified, ip: s.ip(r)}
	var view []core.PathStatus
	var services []core.Service
	if c.verified {
		view, v.view = s.engine.View()
		services = s.plugins.Services()
	}
	tag := v.tag(s.self.BootID, services)
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	if tagMatches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := s.infos.body(v, func() []byte {
		return wire.NewNodeInfo(s.self, v.ip, nodes, view).Encode()
	})
	writeBody(inPieces{w}, http.StatusOK, "application/json", wire.AddServices(body, s.keyed(services, c.key)))
}

// inPieces makes TLS records of 2 KiB of a body. A large write would become records
// of 16 KiB, and a caller that keeps its connection keeps a buffer of twice the
// largest record that came by it.
type inPieces struct{ http.ResponseWriter }

const pieceBytes = 2 << 10

func (w inPieces) Write(b []byte) (n int, err error) {
	control := http.NewResponseController(w.ResponseWriter)
	for piece := range slices.Chunk(b, pieceBytes) {
		m, err := w.ResponseWriter.Write(piece)
		if n += m; err == nil {
			err = control.Flush()
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// keyed is services with the keys for a verified caller: they are as constant as
// the two nodes' keys, so the tag needs to tell of the services only.
func (s *Server) keyed(services []core.Service, caller core.KeyHash) []core.Service {
	if s.serviceKey == nil {
		return nil
	}
	out := slices.Clone(services)
	for i := range out {
		out[i].Key = s.serviceKey(out[i].Name, caller)
	}
	return out
}

// ip is self's own address: the advertised one, or else the one that the
// caller used.
func (s *Server) ip(r *http.Request) string {
	ip := s.self.Advertise.IP()
	if !ip.IsValid() {
		ip = localIP(r)
	}
	if !ip.IsValid() {
		return ""
	}
	return ip.String()
}

// learn tells the mesh where the caller can be dialled back.
func (s *Server) learn(r *http.Request, c caller) {
	if c.key == s.self.Key || !c.ip.IsValid() {
		return
	}
	if c.key.IsZero() {
		if r.UserAgent() == originalAgent {
			s.mesh.Caller(c.key, core.Endpoint{Host: c.ip.String(), Port: core.DefaultPort})
		}
		return
	}
	from := core.Endpoint{Host: c.ip.String(), Port: core.DefaultPort}
	advertised, err := core.ParseEndpoint(r.Header.Get(headerAdvertise), core.DefaultPort)
	if err != nil {
		s.mesh.Caller(c.key, from)
		return
	}
	from.Port = advertised.Port
	if advertised == from {
		s.mesh.Caller(c.key, from)
		return
	}
	s.mesh.Caller(c.key, from, advertised)
}

// infoVersion tells bodies of /nodeinfo apart.
type infoVersion struct {
	members, view uint64
	full          bool
	ip            string
}

// tag is the ETag. Versions begin anew with every boot.
func (v infoVersion) tag(boot string, services []core.Service) string {
	variant := "a"
	if v.full {
		variant = "p"
	}
	if len(services) > 0 {
		h := fnv.New32a()
		for _, s := range services {
			fmt.Fprintf(h, "%s:%d,", s.Name, s.Port)
		}
		variant += fmt.Sprintf("%08x", h.Sum32())
	}
	return fmt.Sprintf(`"%.36s-%d-%d-%s"`, boot, v.members, v.view, variant)
}

// tagMatches reads If-None-Match (RFC 9110, section 13.1.2, weak comparison).
func tagMatches(header, tag string) bool {
	for part := range strings.SplitSeq(header, ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == tag || part == "*" {
			return true
		}
	}
	return false
}

// infoCache keeps the last body of each variant: polls come by the dozen a
// second in a large mesh, changes are rare.
type infoCache struct {
	mu     sync.Mutex // guards the rest
	public cachedInfo
	full   cachedInfo
}

type cachedInfo struct {
	version infoVersion
	bytes   []byte
}

// body returns the bytes of version v, made by encode if they are not there.
func (c *infoCache) body(v infoVersion, encode func() []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	entry := &c.public
	if v.full {
		entry = &c.full
	}
	if entry.bytes == nil || entry.version != v {
		*entry = cachedInfo{v, encode()}
	}
	return entry.bytes
}
