package plugins

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// services are what the instances of a process run for other nodes.
type services struct {
	mu         sync.Mutex // guards byInstance
	byInstance map[string]served
}

// served is one instance's, by its name: names are unique in a process.
type served struct {
	granted []string
	list    []core.Service
}

// configured takes down what an instance was granted and runs; one without grants
// is as good as none.
func (s *services) configured(instance string, granted []string, told []*pluginv1.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(granted) == 0 {
		delete(s.byInstance, instance)
		return
	}
	if s.byInstance == nil {
		s.byInstance = make(map[string]served)
	}
	s.byInstance[instance] = served{granted, announced(granted, told)}
}

// retold takes what runs for the instances now.
func (s *services) retold(told []*pluginv1.InstanceServices) {
	if len(told) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range told {
		if known, ok := s.byInstance[t.GetInstance()]; ok {
			s.byInstance[t.GetInstance()] = served{known.granted, announced(known.granted, t.GetServices())}
		}
	}
}

// announced are the services without keys. One whose secret an instance was not
// given is not its own to announce.
func announced(granted []string, told []*pluginv1.Service) []core.Service {
	list := slices.DeleteFunc(servicesOf(told), func(s core.Service) bool { return !slices.Contains(granted, sdk.CapabilityService(s.Name)) })
	for i := range list {
		list[i].Key = ""
	}
	return list
}

func (s *services) all() (out []core.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, in := range s.byInstance {
		out = append(out, in.list...)
	}
	return out
}

// configured takes down what an instance was granted and runs.
func (p *process) configured(in instance, grants map[string][]byte, told []*pluginv1.Service) {
	p.running.configured(in.name, slices.Collect(maps.Keys(grants)), told)
	if in.section == "probes" {
		_, may := grants[sdk.CapabilityServices]
		p.stream.trust(in.name, may)
	}
}

// Services are those that run for other nodes, by name, without keys. Of two with
// one name that of the first plugin by name counts.
func (h *Host) Services() []core.Service {
	var out []core.Service
	for _, s := range h.list() {
		p := s.current.Load()
		if p == nil {
			continue
		}
		list := p.running.all()
		slices.SortFunc(list, byNameAndPort)
		for _, service := range list {
			known := slices.ContainsFunc(out, func(o core.Service) bool { return o.Name == service.Name })
			if !known && len(out) < core.MaxServices {
				out = append(out, service)
			}
		}
	}
	slices.SortFunc(out, byNameAndPort)
	return out
}

func byNameAndPort(a, b core.Service) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port))
}

// servicesOf leaves out what cannot be a service; of two with one name the first
// counts.
func servicesOf(in []*pluginv1.Service) []core.Service {
	var out []core.Service
	for _, s := range in[:min(len(in), core.MaxServices)] {
		port := portOf(s.GetPort())
		if port == 0 || !core.ValidServiceName(s.GetName()) || len(s.GetKey()) > core.MaxServiceKey {
			continue
		}
		service := core.Service{Name: s.GetName(), Port: port, Key: core.ServiceKey(s.GetKey())}
		if !slices.ContainsFunc(out, func(o core.Service) bool { return o.Name == service.Name }) {
			out = append(out, service)
		}
	}
	return out
}

func servicesToProto(in []core.Service) []*pluginv1.Service {
	if len(in) == 0 {
		return nil
	}
	boxes, out := make([]pluginv1.Service, len(in)), make([]*pluginv1.Service, len(in))
	for i, s := range in {
		boxes[i].Name, boxes[i].Port, boxes[i].Key = s.Name, uint32(s.Port), []byte(s.Key)
		out[i] = &boxes[i]
	}
	return out
}

func nodeOf(n NodeInfo) *pluginv1.NodeInfo {
	out := &pluginv1.NodeInfo{Id: n.ID, Fqdn: n.FQDN, Version: n.Version, BootId: n.BootID, Advertise: n.Advertise}
	if !n.SPKI.IsZero() {
		out.SpkiSha256 = n.SPKI[:]
	}
	return out
}
