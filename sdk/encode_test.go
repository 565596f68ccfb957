package sdk_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

func fullAnswer() sdk.Answer {
	at := time.Date(2026, 5, 4, 3, 2, 1, 5000, time.UTC)
	id := "6f9619ff-8b86-8011-b42d-00cf4fc964ff"
	return sdk.Answer{
		JobID: 1 << 40, Outcome: sdk.OutcomeFailure, Reason: sdk.ReasonTimeout, Message: "no answer within 10s", Started: at, Took: 10*time.Second + 7,
		Result: sdk.Result{
			RTT:        1234567,
			Stages:     []sdk.Stage{{Name: "dns", Took: 1}, {Name: "connect", Took: 2 * time.Minute}, {Name: "none", Took: 0}},
			Metrics:    []sdk.Metric{{Name: "loss_ratio", Value: 0.25}, {Name: "retransmits_count", Value: 0}},
			Attributes: map[string]string{"tls_version": "1.3", "empty": ""},
			Findings:   []sdk.Finding{{Kind: "mtu_black_hole", Message: "large packets vanish", Instant: true}},
			Documents:  []sdk.Document{{Name: "hops", ID: "a1", JSON: []byte(`{"hops":"` + strings.Repeat("x", 300) + `"}`)}},
			Hint:       "segments are sent again",
			Learned: &sdk.Learned{
				Identity: &sdk.Identity{
					NodeID: id, SPKI: make([]byte, 32), FQDN: "n1.example", Version: "2.0.0", BootID: "b", Port: 8443, NotBefore: at, NotAfter: at.Add(time.Hour),
					Services: []sdk.Service{{Name: "reflector", Port: 8444, Key: []byte("key")}},
				},
				Peers: []sdk.PeerHint{{NodeID: id, FQDN: "n2.example", IP: "2001:db8::1", Port: 443, Active: true}},
				View:  []sdk.PathView{{NodeID: id, Probe: "https", Outcome: sdk.OutcomeFailure, Reason: "timeout", RTT: 7, At: at, Metrics: []sdk.Metric{{Name: "loss_ratio", Value: 0.5}}}},
			},
		},
	}
}

func TestAnswerOnTheWire(t *testing.T) {
	bare := sdk.Answer{JobID: 1, Outcome: sdk.OutcomeSuccess}
	large := fullAnswer()
	for i := range 1500 {
		large.Result.Learned.Peers = append(large.Result.Learned.Peers, sdk.PeerHint{FQDN: fmt.Sprintf("n%d.example", i)})
	}
	for name, want := range map[string]sdk.Answer{"bare": bare, "full": fullAnswer(), "large": large} {
		if got := sdk.AnswerFromProto(sdk.AnswerToProto(&want)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got  %+v\nwant %+v", name, got, want)
		}
	}
}

func TestAnswerIsBounded(t *testing.T) {
	long := strings.Repeat("x", 10_000) + "\n"
	a := sdk.Answer{Outcome: sdk.OutcomeFailure, Reason: sdk.Reason(long), Message: long, Took: -1}
	a.Result = sdk.Result{
		RTT: -1, Attributes: map[string]string{"": "nameless", "long": long, "latin": "\xe9"}, Hint: long,
		Metrics: []sdk.Metric{{Name: "nan_ratio", Value: math.NaN()}, {Name: "Not a word", Value: 1}, {Name: "good_ratio", Value: 1}},
		Learned: &sdk.Learned{Identity: &sdk.Identity{NodeID: long, SPKI: []byte(long), FQDN: long, Version: long, BootID: long}},
	}
	for range 100 {
		a.Result.Stages = append(a.Result.Stages, sdk.Stage{Name: long, Took: -1})
		a.Result.Metrics = append(a.Result.Metrics, sdk.Metric{Name: "good_ratio"})
	}
	got := sdk.AnswerFromProto(sdk.AnswerToProto(&a))
	r, id := got.Result, got.Result.Learned.Identity
	lengths := []int{
		len(got.Reason), len(got.Message), len(r.Stages), len(r.Stages[0].Name), len(r.Metrics), len(r.Attributes), len(r.Attributes["long"]), len(r.Hint),
		len(id.NodeID), len(id.SPKI), len(id.FQDN), len(id.Version), len(id.BootID),
	}
	if want := []int{64, 256, 32, 64, 64, 2, 512, 256, 64, 32, 255, 128, 128}; !reflect.DeepEqual(lengths, want) {
		t.Errorf("got lengths %v, want %v", lengths, want)
	}
	if got.Took != 0 || r.RTT != 0 || r.Stages[0].Took != 0 || r.Attributes["latin"] != "?" || r.Metrics[0].Name != "good_ratio" {
		t.Errorf("got %+v", got)
	}
}

func TestTheFirstAttributesAreKept(t *testing.T) {
	a := sdk.Answer{Outcome: sdk.OutcomeSuccess, Result: sdk.Result{Attributes: map[string]string{}}}
	for i := range 100 {
		a.Result.Attributes[fmt.Sprintf("a%02d", i)] = "x"
	}
	got := sdk.AnswerFromProto(sdk.AnswerToProto(&a)).Result.Attributes
	if _, ok := got["a63"]; !ok || len(got) != 64 {
		t.Errorf("got %d attributes, want a00 to a63: %v", len(got), got)
	}
}
