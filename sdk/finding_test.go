package sdk_test

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

func TestFindingsAndDocumentsArrive(t *testing.T) {
	found := []sdk.Finding{{Kind: "mtu_black_hole", Message: "large packets vanish"}, {Kind: "pmtu_changed", Message: "1500 to 1400", Instant: true}}
	docs := []sdk.Document{{Name: "hops", ID: "v1", JSON: []byte(`{"hops":[1,2]}`)}, {Name: "other", JSON: []byte(`{}`)}}
	var in sdk.Result
	h := start(t, func(context.Context, sdk.Target) (sdk.Result, error) { return in, nil })
	for _, tt := range []struct {
		name string
		in   sdk.Result
		want sdk.Result
	}{
		{"good", sdk.Result{Findings: found, Documents: docs}, sdk.Result{Findings: found, Documents: docs}},
		{"hint", sdk.Result{Hint: "a\n" + strings.Repeat("y", 300)}, sdk.Result{Hint: "a " + strings.Repeat("y", 254)}},
		{"bad kinds", sdk.Result{Findings: []sdk.Finding{{Kind: "Hole"}, {Kind: "a-b"}, {Kind: ""}, {Kind: strings.Repeat("x", 65)}, found[0]}}, sdk.Result{Findings: found[:1]}},
		{"too many", sdk.Result{Findings: repeat(found[0], 20), Documents: repeat(docs[0], 20)}, sdk.Result{Findings: repeat(found[0], 8), Documents: repeat(docs[0], 4)}},
		{"no documents", sdk.Result{Documents: []sdk.Document{{Name: "list", JSON: []byte(`[]`)}, {Name: "cut", JSON: []byte(`{`)}, {Name: "empty"}, {Name: "Bad", JSON: []byte(`{}`)}, {Name: "latin", JSON: []byte("{\"a\":\"\xe9\"}")}, {Name: "huge", JSON: []byte(`{"a":"` + strings.Repeat("x", 16<<10) + `"}`)}}}, sdk.Result{}},
		{
			"long texts",
			sdk.Result{Findings: []sdk.Finding{{Kind: "a", Message: "x\n" + strings.Repeat("y", 300)}}, Documents: []sdk.Document{{Name: "a", ID: strings.Repeat("i", 70), JSON: []byte(`{}`)}}},
			sdk.Result{Findings: []sdk.Finding{{Kind: "a", Message: "x " + strings.Repeat("y", 254)}}, Documents: []sdk.Document{{Name: "a", ID: strings.Repeat("i", 64), JSON: []byte(`{}`)}}},
		},
	} {
		in = tt.in
		if got := h.Run("probe", sdk.Target{Host: "a.example"}).Result; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func repeat[T any](v T, n int) (out []T) {
	for range n {
		out = append(out, v)
	}
	return out
}

// FuzzDocument: what an author gives never makes a message that breaks the bounds.
func FuzzDocument(f *testing.F) {
	f.Add("hops", "id", []byte(`{"a":[1]}`), "mtu_black_hole", "message")
	f.Add("", "\xff", []byte("\xff{"), "-", "\x00")
	f.Fuzz(func(t *testing.T, name, id string, text []byte, kind, message string) {
		a := sdk.Answer{Outcome: sdk.OutcomeSuccess, Result: sdk.Result{
			Findings: []sdk.Finding{{Kind: kind, Message: message}}, Documents: []sdk.Document{{Name: name, ID: id, JSON: text}},
		}}
		r := sdk.AnswerToProto(&a)
		for _, d := range r.GetDocuments() {
			if len(d.GetJson()) > 16<<10 || len(d.GetId()) > 64 || !bytes.Contains(d.GetJson(), []byte("{")) {
				t.Errorf("lets %v through", d)
			}
		}
		for _, x := range r.GetFindings() {
			if x.GetKind() != kind || strings.ContainsAny(kind, " -.\n") || len(x.GetMessage()) > 256 {
				t.Errorf("lets %v through", x)
			}
		}
		if again := sdk.AnswerFromProto(r); !reflect.DeepEqual(sdk.AnswerToProto(&again).GetDocuments(), []*pluginv1.Document(r.GetDocuments())) {
			t.Errorf("a second passage differs: %v", r)
		}
	})
}
