package sdk

import (
	"google.golang.org/protobuf/types/known/durationpb"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// servicesToProto leaves out a service that nobody could use.
func servicesToProto(in []Service) []*pluginv1.Service {
	var out []*pluginv1.Service
	for _, s := range in {
		if len(out) < maxServices && s.Port != 0 && len(s.Key) <= maxServiceKey && serviceName.MatchString(s.Name) {
			out = append(out, &pluginv1.Service{Name: s.Name, Port: uint32(s.Port), Key: s.Key})
		}
	}
	return out
}

func servicesFromProto(in []*pluginv1.Service) []Service {
	var out []Service
	for _, s := range in {
		out = append(out, Service{s.GetName(), portFromProto(s.GetPort()), s.GetKey()})
	}
	return out
}

// ServicesFromProto are the services that an instance runs, as its response to
// Configure tells. For hosts and tests.
func ServicesFromProto(r *pluginv1.ConfigureResponse) []Service {
	return servicesFromProto(r.GetServices())
}

// InstanceServicesFromProto are the services that run now, by instance, as a
// heartbeat's echo tells. For hosts and tests.
func InstanceServicesFromProto(b *pluginv1.ResultBatch) map[string][]Service {
	out := make(map[string][]Service, len(b.GetServices()))
	for _, s := range b.GetServices() {
		out[s.GetInstance()] = servicesFromProto(s.GetServices())
	}
	return out
}

func peersToProto(in []PeerHint) []*pluginv1.Peer {
	if len(in) == 0 {
		return nil
	}
	in = in[:min(len(in), maxPeers)]
	boxes, out := make([]pluginv1.Peer, len(in)), make([]*pluginv1.Peer, len(in))
	for i := range in {
		p, b := &in[i], &boxes[i]
		b.NodeId, b.Fqdn, b.Ip = cleanText(p.NodeID, maxName), cleanText(p.FQDN, maxHost), cleanText(p.IP, maxName)
		b.Port, b.Active = uint32(p.Port), p.Active
		out[i] = b
	}
	return out
}

func viewToProto(in []PathView) []*pluginv1.View {
	if len(in) == 0 {
		return nil
	}
	in = in[:min(len(in), maxViews)]
	boxes, out := make([]pluginv1.View, len(in)), make([]*pluginv1.View, len(in))
	for i := range in {
		v, b := &in[i], &boxes[i]
		b.NodeId, b.Probe = cleanText(v.NodeID, maxName), cleanText(v.Probe, maxName)
		b.Outcome, b.Reason = pluginv1.Outcome(v.Outcome), cleanText(string(v.Reason), maxName)
		b.At, b.Metrics = timeToProto(v.At), metricsToProto(v.Metrics, maxViewMetrics)
		if v.RTT > 0 {
			b.Rtt = durationpb.New(v.RTT)
		}
		out[i] = b
	}
	return out
}

func learnedFromProto(in *pluginv1.Learned) *Learned {
	if in == nil {
		return nil
	}
	out := &Learned{Identity: identityFromProto(in.GetIdentity())}
	for _, p := range in.GetPeers() {
		out.Peers = append(out.Peers, PeerHint{p.GetNodeId(), p.GetFqdn(), p.GetIp(), portFromProto(p.GetPort()), p.GetActive()})
	}
	for _, v := range in.GetView() {
		out.View = append(out.View, PathView{
			NodeID: v.GetNodeId(), Probe: v.GetProbe(), Outcome: Outcome(v.GetOutcome()), Reason: Reason(v.GetReason()),
			RTT: v.GetRtt().AsDuration(), At: timeFromProto(v.GetAt()), Metrics: metricsFromProto(v.GetMetrics()),
		})
	}
	return out
}

func identityFromProto(in *pluginv1.Identity) *Identity {
	if in == nil {
		return nil
	}
	return &Identity{
		NodeID: in.GetNodeId(), SPKI: in.GetSpkiSha256(), FQDN: in.GetFqdn(), Version: in.GetVersion(),
		BootID: in.GetBootId(), Port: portFromProto(in.GetPort()),
		NotBefore: timeFromProto(in.GetNotBefore()), NotAfter: timeFromProto(in.GetNotAfter()),
		Services: servicesFromProto(in.GetServices()),
	}
}
