package sdk

import "slices"

// Reason is one word for why a run did not succeed: a closed vocabulary, so that
// what happened can be counted and compared across probes and nodes.
type Reason string

// Reasons that say something about the target.
const (
	ReasonTimeout      Reason = "timeout"
	ReasonRefused      Reason = "refused"
	ReasonUnreachable  Reason = "unreachable"
	ReasonReset        Reason = "reset"         // closed or reset by the other side
	ReasonDNS          Reason = "dns"           // the name does not resolve
	ReasonTLS          Reason = "tls"           // no handshake, or an untrusted certificate
	ReasonIdentity     Reason = "identity"      // another key or node than expected
	ReasonHTTPStatus   Reason = "http_status"   // an answer with another status
	ReasonProtocol     Reason = "protocol"      // not what the protocol allows
	ReasonUnexpected   Reason = "unexpected"    // a well-formed answer, not the wanted one
	ReasonTooLarge     Reason = "too_large"     // more than is read, or than a packet holds
	ReasonForbidden    Reason = "forbidden"     // an address that must not be dialled
	ReasonMTUBlackHole Reason = "mtu_blackhole" // small packets pass, large ones vanish
	ReasonLoss         Reason = "loss"          // too many packets lost
	ReasonOther        Reason = "other"
)

// Reasons that say nothing about the target.
const (
	ReasonCanceled    Reason = "canceled"       // nobody waits for the result any more
	ReasonUnsupported Reason = "unsupported"    // cannot be measured here
	ReasonPermission  Reason = "permission"     // this system does not let the plugin
	ReasonResources   Reason = "resources"      // this system is out of descriptors, ports or memory
	ReasonInternal    Reason = "internal"       // the plugin broke
	ReasonUnknown     Reason = "not_configured" // no such instance
	ReasonBusy        Reason = "plugin_busy"    // all runs in flight are taken
)

// Reasons is the whole vocabulary.
func Reasons() []Reason {
	return []Reason{
		ReasonTimeout, ReasonRefused, ReasonUnreachable, ReasonReset, ReasonDNS, ReasonTLS, ReasonIdentity,
		ReasonHTTPStatus, ReasonProtocol, ReasonUnexpected, ReasonTooLarge, ReasonForbidden, ReasonMTUBlackHole, ReasonLoss, ReasonOther,
		ReasonCanceled, ReasonUnsupported, ReasonPermission, ReasonResources, ReasonInternal, ReasonUnknown, ReasonBusy,
	}
}

// Valid tells that r is a word of the vocabulary.
func (r Reason) Valid() bool { return slices.Contains(Reasons(), r) }
