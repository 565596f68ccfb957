package sdk_test

import (
	"context"
	"crypto/sha256"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
)

// serving runs what it is told to.
type serving struct{ list []sdk.Service }

func (serving) Probe(context.Context, sdk.Target) (sdk.Result, error) { return sdk.Result{}, nil }
func (s serving) Services() []sdk.Service                             { return s.list }

func TestServices(t *testing.T) {
	many := make([]sdk.Service, 9)
	for i := range many {
		many[i] = sdk.Service{Name: "echo", Port: uint16(i + 1)}
	}
	for _, tt := range []struct {
		name    string
		grants  sdk.Grants
		list    []sdk.Service
		want    []sdk.Service
		refused string
	}{
		{"none", plugintest.Secrets("echo"), nil, nil, ""},
		{"one", plugintest.Secrets("echo"), []sdk.Service{{Name: "echo", Port: 7, Key: []byte("k")}}, []sdk.Service{{Name: "echo", Port: 7}}, ""},
		{"nowhere", plugintest.Secrets("echo"), []sdk.Service{{Name: "echo"}}, nil, ""},
		{"too many", plugintest.Secrets("echo"), many, many[:8], ""},
		{"not granted", nil, []sdk.Service{{Name: "echo", Port: 7}}, nil, `without the grant of "service.echo"`},
		{"panics", plugintest.Secrets("echo"), []sdk.Service{{Name: "panic"}}, nil, "without the grant"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := sdk.NewProbe("probe", "1.0.0", func(struct{}, sdk.Env) (sdk.Prober, error) { return serving{tt.list}, nil }, sdk.Serves("echo"))
			h := plugintest.Start(t, p, plugintest.Options{Grants: tt.grants})
			refused := ""
			for _, e := range h.TryConfigure("probe", "probe", nil) {
				refused += e.Error()
			}
			if refused == "" != (tt.refused == "") || !strings.Contains(refused, tt.refused) {
				t.Errorf("got the refusal %q, want %q", refused, tt.refused)
			}
			if got := h.Services("probe"); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestServicesThatChange(t *testing.T) {
	now := &changing{}
	p := sdk.NewProbe("probe", "1.0.0", func(struct{}, sdk.Env) (sdk.Prober, error) { return now, nil }, sdk.Serves("echo"))
	h := plugintest.Start(t, p, plugintest.Options{Grants: plugintest.Secrets("echo")})
	h.Configure("probe", "probe", nil)
	for _, tt := range []struct {
		list []sdk.Service
		want int
	}{
		{nil, 0},
		{[]sdk.Service{{Name: "echo", Port: 7}}, 1},
		{[]sdk.Service{{Name: "other", Port: 7}}, 0},
		{[]sdk.Service{{Name: "echo", Port: 7}}, 1},
		{[]sdk.Service{{Name: "panic"}}, 0},
		{nil, 0},
	} {
		now.list.Store(&tt.list)
		h.Beat()
		if got := h.Services("probe"); len(got) != tt.want {
			t.Errorf("%v: got %v", tt.list, got)
		}
	}
}

// changing runs what it was told last.
type changing struct{ list atomic.Pointer[[]sdk.Service] }

func (*changing) Probe(context.Context, sdk.Target) (sdk.Result, error) { return sdk.Result{}, nil }

func (c *changing) Services() []sdk.Service {
	list := c.list.Load()
	if list == nil {
		return nil
	}
	if len(*list) == 1 && (*list)[0].Name == "panic" {
		panic("the test says so")
	}
	return *list
}

func TestNodeIsToldItsKey(t *testing.T) {
	var got sdk.Env
	p := sdk.NewProbe("probe", "1.0.0", func(_ struct{}, env sdk.Env) (sdk.Prober, error) {
		got = env
		return serving{}, nil
	}, sdk.Serves("echo"))
	spki := sha256.Sum256([]byte("key"))
	h := plugintest.Start(t, p, plugintest.Options{Node: sdk.NodeInfo{SPKI: spki[:]}, Grants: plugintest.Secrets("echo")})
	h.Configure("probe", "probe", nil)
	if string(got.Node.SPKI) != string(spki[:]) {
		t.Errorf("got the key %x, want %x", got.Node.SPKI, spki)
	}
	told := plugintest.Service("echo", 7, spki[:])
	if key := sdk.ServiceKey(got.Grants.Service("echo"), spki[:]); string(key) != string(told.Key) || len(key) != 32 {
		t.Errorf("the service makes the key %x, its caller has %x", key, told.Key)
	}
}
