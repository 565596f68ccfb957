package plugins

import (
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/seahow-uk/nodeprobe/core"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

func batchBytes(t *testing.T, m *pluginv1.ResultBatch) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestWhatRepeatsIsReadOnce(t *testing.T) {
	told := fullResult()
	told.Learned.Peers, told.Learned.View = nil, nil
	data := batchBytes(t, &pluginv1.ResultBatch{Results: []*pluginv1.Result{wireResult(told)}})
	a := newAnswers()
	var read [2]core.Result
	for i := range read {
		if err := a.read(data); err != nil {
			t.Fatal(err)
		}
		read[i] = a.list[0].Result
	}
	if !reflect.DeepEqual(read[0], read[1]) {
		t.Errorf("got %+v the second time, want %+v", read[1], read[0])
	}
	if read[0].Learned != read[1].Learned {
		t.Error("the same identity was made twice")
	}
	told.Learned.Identity.Version = "2.0.1"
	if err := a.read(batchBytes(t, &pluginv1.ResultBatch{Results: []*pluginv1.Result{wireResult(told)}})); err != nil {
		t.Fatal(err)
	}
	if got := a.list[0].Learned.Identity.Version; got != "2.0.1" {
		t.Errorf("got version %q of a node that was upgraded", got)
	}
}

func TestNewsOfOthersAreNotKept(t *testing.T) {
	a := newAnswers()
	if err := a.read(batchBytes(t, &pluginv1.ResultBatch{Results: []*pluginv1.Result{wireResult(fullResult())}})); err != nil {
		t.Fatal(err)
	}
	if len(a.known) != 0 {
		t.Errorf("got %d kept, want none: peers and views change", len(a.known))
	}
}

func TestKeptIsBounded(t *testing.T) {
	kept := make(map[string]int)
	for i := range 3 * maxKept {
		remember(kept, protowire.AppendVarint(nil, uint64(i)), i)
		if len(kept) > maxKept {
			t.Fatalf("got %d, want at most %d", len(kept), maxKept)
		}
	}
}

func TestMessagesThatAreNotResults(t *testing.T) {
	result := batchBytes(t, &pluginv1.ResultBatch{Results: []*pluginv1.Result{wireResult(fullResult())}})
	for name, data := range map[string][]byte{
		"cut":        result[:len(result)-1],
		"cut inside": protowire.AppendBytes([]byte{batchResult}, []byte{resultStage, 9}),
		"no field 0": {0, 0},
		"too many":   batchBytes(t, &pluginv1.ResultBatch{Results: make([]*pluginv1.Result, maxCredit+1)}),
	} {
		if err := newAnswers().read(data); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFieldsOfLaterContractsAreSkipped(t *testing.T) {
	later := protowire.AppendVarint(protowire.AppendTag(nil, 900, protowire.VarintType), 1)
	told := batchBytes(t, &pluginv1.ResultBatch{Heartbeat: 7})
	result := append(protowire.AppendVarint([]byte{resultJobID}, 5), later...)
	a := newAnswers()
	if err := a.read(append(append(told, later...), protowire.AppendBytes([]byte{batchResult}, result)...)); err != nil {
		t.Fatal(err)
	}
	if len(a.list) != 1 || a.list[0].id != 5 || a.other.GetHeartbeat() != 7 {
		t.Errorf("got %+v, %v", a.list, &a.other)
	}
}

func TestTextIsCleanedHoweverLong(t *testing.T) {
	long := "a\n" + strings.Repeat("x", maxAttribute)
	got := answered(t, &pluginv1.Result{Outcome: 1, Attributes: []*pluginv1.Attribute{{Name: "n\t", Value: long}, {Name: "latin", Value: "b\u202e"}}}).Attributes
	want := map[string]string{"n ": core.CleanText(long, maxAttribute), "latin": "b "}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
