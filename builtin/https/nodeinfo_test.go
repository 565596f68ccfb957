package https

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

const peerID = "5a3c9d52-8a56-4b1e-9c0f-2f1f6c7a9b01"

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseOurs(t *testing.T) {
	got, err := parseNodeInfo(golden(t, "nodeinfo.json"))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	const beta, gamma = "f3d7aba9-7aa8-83e8-afbe-40fdbc22b1ff", "f7e7dd22-c058-8336-83df-5fcd86525650"
	want := nodeInfo{
		id: "171566c0-549f-82d8-a4e9-735f1bcdd31c", fqdn: "alpha.example.net", version: "1.4.0",
		bootID: "0b6f6f0a-6a3c-4c1f-9f0e-3d5d0c5b7a11", port: 8443,
		key: "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3a94a8fe5ccb19ba61c4c0873",
		peers: []sdk.PeerHint{
			{NodeID: beta, FQDN: "beta.example.net", IP: "192.0.2.7", Port: 8444, Active: true},
			{NodeID: gamma, IP: "2001:db8::7", Port: 443},
		},
		view: []sdk.PathView{
			{
				NodeID: beta, Probe: "https", Outcome: sdk.OutcomeSuccess, RTT: 412 * time.Microsecond, At: at,
				Metrics: []sdk.Metric{{Name: "loss_ratio", Value: 0.25}, {Name: "retransmits_count", Value: 0}},
			},
			{NodeID: gamma, Probe: "https", Outcome: sdk.OutcomeFailure, Reason: sdk.ReasonTimeout, At: at},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestParseOriginal(t *testing.T) {
	got, err := parseNodeInfo(golden(t, "original.json"))
	if err != nil {
		t.Fatal(err)
	}
	want := nodeInfo{
		id: peerID, fqdn: "nodeprobe-1",
		peers: []sdk.PeerHint{
			{NodeID: "0d9f8b1c-2b7e-4f77-8a7b-5b6e1c2d3e4f", FQDN: "nodeprobe-2", IP: "192.168.65.11", Port: 443, Active: true},
			{FQDN: "nodeprobe-3", IP: "192.168.65.12", Port: 443},
			{IP: "192.168.65.13", Port: 443, Active: true},
		},
		dropped: 1, // blank name and address
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// body is a valid one with more members or entries put in.
func body(members, nodes string) string {
	if members != "" {
		members = "," + members
	}
	return fmt.Sprintf(`{"id":%q,"fqdn":"a.example","ip":"192.0.2.1","nodes":[%s]%s}`, peerID, nodes, members)
}

func TestParseRefuses(t *testing.T) {
	node := `{"id":"","fqdn":"b.example","ip":""}`
	for _, tt := range []struct{ name, body, want string }{
		{"empty", ``, "want '{'"},
		{"null", `null`, "want '{'"},
		{"array", `[]`, "want '{'"},
		{"string", `"x"`, "want '{'"},
		{"number", `1`, "want '{'"},
		{"html", `<html></html>`, "want '{'"},
		{"cut", body("", node)[:60], "want"},
		{"no members", `{}`, "id is not a UUID"},
		{"no id", `{"nodes":[]}`, "id is not a UUID"},
		{"id null", `{"id":null,"nodes":[]}`, "id is not a UUID"},
		{"id number", `{"id":7,"nodes":[]}`, "id is not a UUID"},
		{"id empty", `{"id":"","nodes":[]}`, "id is not a UUID"},
		{"id seed", `{"id":"seed-a-b","nodes":[]}`, "id is not a UUID"},
		{"id nil UUID", `{"id":"00000000-0000-0000-0000-000000000000","nodes":[]}`, "id is not a UUID"},
		{"id in braces", `{"id":"{5a3c9d52-8a56-4b1e-9c0f-2f1f6c7a9b0}","nodes":[]}`, "id is not a UUID"},
		{"other case", strings.Replace(body("", ""), `"id"`, `"ID"`, 1), "id is not a UUID"},
		{"no nodes", `{"id":"` + peerID + `"}`, "nodes is not there"},
		{"nodes null", `{"id":"` + peerID + `","nodes":null}`, "not the array"},
		{"nodes object", `{"id":"` + peerID + `","nodes":{}}`, "not the array"},
		{"view string", body(`"view":"x"`, ""), "not the array"},
		{"id twice", body(`"id":"`+peerID+`"`, ""), "given twice"},
		{"nodes twice", body(`"nodes":[]`, ""), "given twice"},
		{"escaped twice", body(`"\u0069d":"`+peerID+`"`, ""), "given twice"},
		{"trailing", body("", "") + `{}`, "want the end"},
		{"trailing NUL", body("", "") + "\x00", "want the end"},
		{"comma", body("", node+","), "want a value"},
		{"name without quotes", `{id:1}`, "member's name"},
		{"no colon", `{"id" 1}`, "want a colon"},
		{"control character", body(`"x":"`+"\n"+`"`, ""), "control character"},
		{"bad escape", body(`"x":"\q"`, ""), "an escape"},
		{"cut escape", body(`"x":"\u12`, ""), "want"},
		{"leading zero", body(`"x":01`, ""), "want a comma"},
		{"plus", body(`"x":+1`, ""), "want a value"},
		{"NaN", body(`"x":NaN`, ""), "want a value"},
		{"bad literal", body(`"x":nul`, ""), "want null"},
		{"bad port", body(`"port":-`, ""), "want a value"},
		{"bad bool", body("", `{"fqdn":"b","is_active":tru}`), "want true"},
		{"deep", body(`"x":`+strings.Repeat("[", 40), ""), "deeper than 16"},
		{"deep objects", body(`"x":`+strings.Repeat(`{"a":`, 40), ""), "deeper than 16"},
		{"deep in a node", body("", `{"x":`+strings.Repeat("[", 40)), "deeper than 16"},
		{"many nodes", body("", strings.Repeat(node+",", 2000)+node), "too many entries"},
		{"many empty nodes", body("", strings.Repeat("{},", 2000)+"{}"), "too many entries"},
		{"many paths", body(`"view":[`+strings.Repeat("1,", 10000)+"1]", ""), "too many entries"},
		{"many metrics", body(`"view":[`+strings.Repeat(`{"metrics":{`+strings.Repeat(`"a":1,`, 9)+`"a":1}},`, 8001)+"{}]", ""), "too many entries"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseNodeInfo([]byte(tt.body))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want ...%s...", err, tt.want)
			}
			if got, want := errors.Is(err, errTooMany), tt.want == "too many entries"; got != want {
				t.Errorf("errTooMany: got %v, want %v", got, want)
			}
		})
	}
}

func TestParseServices(t *testing.T) {
	good := `{"name":"reflector","port":8444,"key":"a2V5","x":[1]}`
	want := []sdk.Service{{Name: "reflector", Port: 8444, Key: []byte("key")}}
	var nine []string
	for i := range 9 {
		nine = append(nine, fmt.Sprintf(`{"name":"s%d","port":1,"key":"a2V5"}`, i))
	}
	for _, tt := range []struct {
		name, services string
		kept, dropped  int
	}{
		{"one", "[" + good + "]", 1, 0},
		{"none", "[]", 0, 0},
		{"not a list", `{"name":"reflector"}`, 0, 1},
		{"null", `null`, 0, 1},
		{"not objects", `[1,null,"x",[]]`, 0, 4},
		{"twice", "[" + good + "," + good + "]", 1, 1},
		{"nine", "[" + strings.Join(nine, ",") + "]", 8, 1},
		{"no name", `[{"port":1,"key":"a2V5"}]`, 0, 1},
		{"bad name", `[{"name":"Re/x","port":1,"key":"a2V5"}]`, 0, 1},
		{"long name", `[{"name":"` + strings.Repeat("x", 33) + `","port":1,"key":"a2V5"}]`, 0, 1},
		{"no port", `[{"name":"a","key":"a2V5"}]`, 0, 1},
		{"bad port", `[{"name":"a","port":65536,"key":"a2V5"}]`, 0, 1},
		{"no key", `[{"name":"a","port":1}]`, 0, 1},
		{"not base64", `[{"name":"a","port":1,"key":"a2V"}]`, 0, 1},
		{"long key", `[{"name":"a","port":1,"key":"` + strings.Repeat("AAAA", 22) + `"}]`, 0, 1},
		{"huge key", `[{"name":"a","port":1,"key":"` + strings.Repeat("AAAA", 2000) + `"}]`, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseNodeInfo([]byte(body(`"services":`+tt.services, "")))
			if err != nil || len(got.services) != tt.kept || got.dropped != tt.dropped {
				t.Errorf("got %+v, %d dropped, %v; want %d and %d", got.services, got.dropped, err, tt.kept, tt.dropped)
			}
			if tt.kept == 1 && !reflect.DeepEqual(got.services, want) {
				t.Errorf("got %+v, want %+v", got.services, want)
			}
		})
	}
}

func TestParseDrops(t *testing.T) {
	for _, tt := range []struct {
		name, members, nodes   string
		dropped, peers, viewed int
	}{
		{"nothing", ``, `{"fqdn":"b.example"}`, 0, 1, 0},
		{"unknown members", `"x":[{"y":null}]`, `{"fqdn":"b","z":{"z":[1.5e-3,true,"\ud83d\ude00"]}}`, 0, 1, 0},
		{"empty entry", ``, `{}`, 1, 0, 0},
		{"not objects", ``, `1,null,[],"x"`, 4, 0, 0},
		{"path in name", ``, `{"fqdn":"h:9999/admin/delete?all=1#"}`, 1, 0, 0},
		{"user in name", ``, `{"fqdn":"u@h"}`, 1, 0, 0},
		{"line break in name", ``, `{"fqdn":"h\r\nX: y"}`, 1, 0, 0},
		{"octal name", ``, `{"fqdn":"0177.0.0.1"}`, 1, 0, 0},
		{"number as name", ``, `{"fqdn":"2130706433"}`, 1, 0, 0},
		{"hexadecimal name", ``, `{"fqdn":"0x7f000001"}`, 1, 0, 0},
		{"script in name", ``, `{"fqdn":"<script>alert(1)</script>"}`, 1, 0, 0},
		{"unicode name", ``, `{"fqdn":"b\u202eexample"}`, 1, 0, 0},
		{"invalid UTF-8", ``, "{\"fqdn\":\"b\xff\"}", 1, 0, 0},
		{"long name", ``, `{"fqdn":"` + strings.Repeat("a.", 200) + `a"}`, 1, 0, 0},
		{"huge name", ``, `{"fqdn":"` + strings.Repeat("a", 70_000) + `"}`, 1, 0, 0},
		{"name is a number", ``, `{"fqdn":1,"ip":"192.0.2.9"}`, 1, 0, 0},
		{"bad address", ``, `{"fqdn":"b","ip":"192.0.2.256"}`, 1, 0, 0},
		{"zone", ``, `{"fqdn":"b","ip":"fe80::1%eth0"}`, 1, 0, 0},
		{"address and port", ``, `{"ip":"192.0.2.1:22"}`, 1, 0, 0},
		{"bad id", ``, `{"id":"x","fqdn":"b"}`, 1, 0, 0},
		{"forged line in id", ``, `{"id":"x\nlevel=error","fqdn":"b"}`, 1, 0, 0},
		{"port zero", ``, `{"fqdn":"b","port":0}`, 0, 1, 0},
		{"ports", ``, `{"fqdn":"b","port":65536},{"fqdn":"b","port":-1},{"fqdn":"b","port":1.5},{"fqdn":"b","port":"443"},{"fqdn":"b","port":1e999}`, 5, 0, 0},
		{"active is a string", ``, `{"fqdn":"b","is_active":"yes"}`, 1, 0, 0},
		{"twice", ``, `{"fqdn":"b","fqdn":"c"},{"fqdn":"b","ip":"","ip":""},{"fqdn":"b","is_active":true,"is_active":true}`, 3, 0, 0},
		{"own fields", `"version":"1 2","boot_id":{},"port":70000,"spki_sha256":"<"`, ``, 4, 0, 0},
		{"good path", `"view":[{"destination":"` + peerID + `","probe":"p","outcome":"success","at":"2026-01-01T00:00:00Z"}]`, ``, 0, 0, 1},
		{"bad paths", `"view":[{},1,{"destination":"` + peerID + `"},{"outcome":"fine"},{"rtt_us":-1},{"rtt_us":1e300},{"at":"now"},{"at":1},{"probe":"A b"},{"metrics":[]},{"metrics":{"A":1}},{"metrics":{"a":"x"}}]`, ``, 12, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseNodeInfo([]byte(body(tt.members, tt.nodes)))
			if err != nil {
				t.Fatal(err)
			}
			if got.dropped != tt.dropped || len(got.peers) != tt.peers || len(got.view) != tt.viewed {
				t.Errorf("dropped, peers, view: got %d %+v %+v, want %d %d %d", got.dropped, got.peers, got.view, tt.dropped, tt.peers, tt.viewed)
			}
		})
	}
}

// FuzzScanner holds the scanner against encoding/json: what it takes is JSON,
// and what it does not take is none or too deep.
func FuzzScanner(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-0.5e+3,"\u00e9\n",true,null,{}]}`, `[`, `"\x"`, `01`, ` {"a" : 1 } x`, "\"\xff\"", `-`, `[[],{}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := scanner{data: data}
		err := s.skip()
		if err == nil {
			err = s.end()
		}
		valid := json.Valid(data)
		if err == nil && !valid {
			t.Errorf("takes %q, which is not JSON", data)
		}
		if err != nil && valid && !strings.Contains(err.Error(), "deeper") {
			t.Errorf("refuses %q: %v", data, err)
		}
	})
}

// FuzzParseNodeInfo holds the values that the parser lets through against what
// they may be.
func FuzzParseNodeInfo(f *testing.F) {
	f.Add(golden(f, "nodeinfo.json"))
	f.Add(golden(f, "original.json"))
	f.Add([]byte(body(`"view":[{"metrics":{"a":1}}]`, `{"fqdn":"b","port":1}`)))
	f.Add([]byte(body(`"services":[{"name":"reflector","port":8444,"key":"a2V5"}]`, "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := parseNodeInfo(data)
		if err != nil {
			return
		}
		if !json.Valid(data) || nodeID([]byte(info.id)) != info.id {
			t.Errorf("takes %q as %q", data, info.id)
		}
		for _, p := range info.peers {
			name, ip := p.FQDN == "" || isHostName(p.FQDN), p.IP == "" || address(p.IP).IsValid()
			if !name || !ip || p.Port == 0 || p.FQDN == "" && p.IP == "" {
				t.Errorf("lets %+v through", p)
			}
		}
		for i, s := range info.services {
			if i == maxServices || !isServiceName([]byte(s.Name)) || s.Port == 0 || len(s.Key) == 0 || len(s.Key) > maxServiceKey {
				t.Errorf("lets the service %+v through", s)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var nodes, view []string
	for i := range 100 {
		id := fmt.Sprintf("5a3c9d52-8a56-4b1e-9c0f-%012x", i+1)
		nodes = append(nodes, fmt.Sprintf(`{"id":%q,"fqdn":"node-%d.example.net","ip":"192.0.2.%d","discovered_by":"seed","first_seen":"2026-01-02T03:04:05.678901234Z","last_seen":"2026-01-02T03:04:05.678901234Z","is_active":true,"port":443}`, id, i, i))
		view = append(view, fmt.Sprintf(`{"destination":%q,"probe":"https","outcome":"success","rtt_us":%d,"metrics":{"retransmits_count":0},"at":"2026-01-02T03:04:05.678901234Z"}`, id, 400+i))
	}
	data := []byte(body(`"view":[`+strings.Join(view, ",")+`]`, strings.Join(nodes, ",")))
	b.Run("scanner", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := parseNodeInfo(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			var v struct {
				ID    string
				Nodes []struct {
					ID, FQDN, IP string
					Active       bool `json:"is_active"`
					Port         uint16
				}
				View []struct {
					Destination, Probe, Outcome, Reason string
					RTT                                 int64 `json:"rtt_us"`
					Metrics                             map[string]float64
					At                                  time.Time
				}
			}
			if err := json.Unmarshal(data, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
