package web

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/scripts/require"
)

// payload runs as a script wherever it is taken for markup.
const payload = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`

// chromium is the path of a browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	require.Missing(t, "chromium", "no chromium is installed: the dashboard is not seen in a browser")
	return ""
}

// browser opens a tab. What the page complains about is in the returned func's
// answer.
func browser(t *testing.T) (tab context.Context, complaints func() []string) {
	t.Helper()
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("no-sandbox", true), chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("ignore-certificate-errors", true))...)
	t.Cleanup(cancel)
	tab, cancelTab := chromedp.NewContext(allocator)
	t.Cleanup(cancelTab)
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("start browser: %v", err)
	}
	heard := make(chan string, 1000)
	if err := chromedp.Listen(tab, func(event any) {
		text := complaint(event)
		select {
		case heard <- text:
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	return tab, func() (all []string) {
		for len(heard) > 0 {
			if text := <-heard; text != "" {
				all = append(all, text)
			}
		}
		return all
	}
}

// complaint is what an event says about a broken rule or script; a connection
// that fails is not one.
func complaint(event any) string {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		return fmt.Sprintf("exception: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			return "log: " + e.Entry.Text
		}
	}
	return ""
}

// until waits for a condition on the page and fails with what the page shows.
func until(t *testing.T, tab context.Context, condition string) {
	t.Helper()
	_, err := chromedp.Run(tab, chromedp.Poll[bool](condition,
		chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(20*time.Second)))
	if err != nil {
		text, _ := chromedp.Run(tab, chromedp.Evaluate[string]("document.body.innerText"))
		t.Fatalf("%s: %v; the page says:\n%s", condition, err, text)
	}
}

func evaluate[T any](t *testing.T, tab context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(tab, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// hostile is a mesh in which every text that comes from elsewhere is markup.
func hostile() *fakes {
	f := twoNodes(testSelf.ID)
	f.nodes[0].Version = payload
	f.nodes[1].FQDN, f.nodes[1].Message, f.nodes[1].Reason = payload, payload, payload
	f.nodes[1].Endpoints[0].Host = payload
	f.view[1].Message = payload
	f.view[0].Metrics = []core.Metric{{Name: "loss_ratio", Value: 0.25}, {Name: "mtu_bytes", Value: 1400}}
	f.matrix[0].Metrics = []core.Metric{{Name: "mtu_bytes", Value: 1500}}
	f.attributes = map[string]map[string]string{nodeID(1).String() + "https": {"mtu_kind": "exact", payload: payload}}
	f.found = []core.OpenFinding{{Node: nodeID(1), Probe: "https", Kind: "mtu_black_hole", Message: payload, Since: time.Now()}}
	body, _ := json.Marshal(map[string]any{"reached": true, payload: payload, "hops": []any{
		map[string]any{"ttl": 1, "nodes": []any{map[string]any{"address": "192.0.2.254", "rtt_us": 412}}},
		map[string]any{"ttl": 2, "nodes": []any{}, "gap": true},
	}})
	now := time.Now()
	f.documents = []core.StoredDocument{
		{Document: core.Document{Name: "hop_path", ID: payload, JSON: body}, Node: nodeID(1), Probe: "trace", At: now},
		{Document: core.Document{Name: "hop_path", ID: "old", JSON: []byte(`{"reached":false}`)}, Node: nodeID(1), Probe: "trace", At: now.Add(-time.Hour), Until: now},
	}
	f.matrix[0].Reason, f.matrix[0].Message = payload, payload
	f.sums = []core.PathSummary{{Node: nodeID(1), Runs: 2880, Failures: 10, P50: 1500 * time.Microsecond, P99: 120 * time.Millisecond}}
	f.events[0].Message, f.events[1].Subject = payload, payload
	f.plugins[0].Name, f.plugins[0].Problem, f.plugins[0].Version = payload, payload, payload
	f.health.Checks[0] = Check{Name: payload, Problem: payload, Warning: true}
	f.reports = []core.Report{
		{Node: nodeID(1), Verified: true, From: "192.0.2.1", Sent: time.Now(), Received: time.Now()},
		{Node: nodeID(7), From: "192.0.2.7", Sent: time.Now(), Received: time.Now()},
	}
	return f
}

func TestDashboardInABrowser(t *testing.T) {
	tab, complaints := browser(t)
	h := start(t, hostile())
	if err := chromedp.Do(tab, chromedp.EmulateViewport(1360, 1400), chromedp.Navigate("https://"+h.addr+"/")); err != nil {
		t.Fatal(err)
	}
	until(t, tab, `document.querySelectorAll("#nodes tbody tr").length === 2 && document.querySelectorAll("#matrix tbody tr").length === 3`)
	until(t, tab, `document.getElementById("live").textContent === "● live"`)
	until(t, tab, `document.querySelectorAll("#plugins tbody tr").length === 1 && document.querySelectorAll("#events tbody tr").length === 2`)
	until(t, tab, `document.querySelector("#nodes").innerText.includes("1.23 ms")`)
	until(t, tab, `document.querySelectorAll("#reports tbody tr").length === 2`)
	until(t, tab, `document.querySelector("#nodes").innerText.includes("99.65 %")`)

	checkRows(t, tab)
	checkMatrix(t, tab)
	checkReports(t, tab)
	checkStream(t, tab, h)
	checkPeer(t, tab, h)
	checkMetric(t, tab)
	screenshot(t, tab, "dashboard")
	checkInert(t, tab, complaints)

	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	until(t, tab, `document.getElementById("live").textContent.startsWith("■ disconnected")`)
	until(t, tab, `document.getElementById("mesh").textContent.includes("unknown") && document.body.classList.contains("lost")`)
	if n := evaluate[int](t, tab, `document.querySelectorAll("#nodes tbody tr").length`); n != 2 {
		t.Errorf("nodes shown while disconnected: got %d, want 2", n)
	}
	screenshot(t, tab, "disconnected")
}

// checkRows: state in words, nothing invented for a node never seen.
func checkRows(t *testing.T, tab context.Context) {
	t.Helper()
	alive := evaluate[string](t, tab, `document.querySelector('[data-node="`+nodeID(1).String()+`"]').innerText`)
	for _, want := range []string{"node-1.example.net", "alive", "192.0.2.1:8443", "1.23 ms", "99.65 %", "1.50, 120 ms"} {
		if !strings.Contains(alive, want) {
			t.Errorf("row of the node that answers: got %q, want %q in it", alive, want)
		}
	}
	down := evaluate[string](t, tab, `document.querySelector('[data-node="`+nodeID(2).String()+`"]').innerText`)
	for _, want := range []string{payload, "down", "never", "not measured"} {
		if !strings.Contains(down, want) {
			t.Errorf("row of the node that never answered: got %q, want %q in it", down, want)
		}
	}
}

// checkMatrix: what was not measured says so, and is never shown as good.
func checkMatrix(t *testing.T, tab context.Context) {
	t.Helper()
	cells := evaluate[[]string](t, tab, `[...document.querySelectorAll("#matrix tbody td")].map((c) => c.className + "|" + c.textContent)`)
	slices.Sort(cells)
	want := []string{
		"cell failure|✕", "cell none|·", "cell none|·", "cell none|·",
		"cell own|", "cell own|", "cell own|", "cell success|1.23", "cell success|2.00",
	}
	if !slices.Equal(cells, want) {
		t.Errorf("matrix: got %q, want %q", cells, want)
	}
}

// checkPeer: all that probes told of one peer, whatever their names.
func checkPeer(t *testing.T, tab context.Context, h *harness) {
	t.Helper()
	evaluate[any](t, tab, `document.querySelector('[data-node="`+nodeID(1).String()+`"] a').click()`)
	until(t, tab, `document.querySelectorAll("#peer section").length === 2`)
	text := evaluate[string](t, tab, `document.getElementById("peer").innerText`)
	for _, want := range []string{
		"https ● success", "loss\n25 %", "mtu\n1400 B", "mtu kind\nexact", "mtu black hole", "trace: hop path",
		"reached\ntrue", "address 192.0.2.254, rtt 0.412 ms", "none\t2\ttrue", "1 earlier", payload,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the peer: got %q, want %q in it", text, want)
		}
	}
	if got := evaluate[string](t, tab, `document.getElementById("peer-choice").selectedOptions[0].text`); got != "node-1.example.net" {
		t.Errorf("got %q chosen, want the node whose name was clicked", got)
	}
	with(h.fakes, func() error {
		changed := slices.Clone(h.documents)
		changed[0].JSON = []byte(`{"reached":"by another way"}`)
		h.documents = changed
		return nil
	})
	h.hub.Publish(core.Change{Kind: ChangeResults, Payload: []core.Result{{
		Job:     core.Job{Probe: "trace", Target: core.Target{Node: nodeID(1)}},
		Outcome: core.OutcomeSuccess, Documents: []core.Document{{Name: "hop_path", ID: "new", Changed: true}},
	}}})
	until(t, tab, `document.getElementById("peer").innerText.includes("by another way")`)
}

// checkMetric: the matrix shows the figure that is chosen.
func checkMetric(t *testing.T, tab context.Context) {
	t.Helper()
	choose := func(metric string) {
		evaluate[any](t, tab, `{ const s = document.getElementById("matrix-metric"); s.value = "`+metric+`"; s.dispatchEvent(new Event("change")); }`)
	}
	choose("mtu_bytes")
	until(t, tab, `["1400 B", "1500 B"].every((t) => document.getElementById("matrix").innerText.includes(t))`)
	choose("loss_ratio")
	until(t, tab, `document.getElementById("matrix").innerText.includes("25 %") && !document.getElementById("matrix").innerText.includes("1400")`)
	choose("rtt_us")
	until(t, tab, `document.getElementById("matrix").innerText.includes("2.00")`)
}

// checkReports: a node that is known has its name, and a claim is no proof.
func checkReports(t *testing.T, tab context.Context) {
	t.Helper()
	rows := evaluate[[]string](t, tab, `[...document.querySelectorAll("#reports tbody tr")].map((r) => r.innerText)`)
	if known := rows[0]; !strings.Contains(known, "node-1.example.net") || strings.Contains(known, "claim") {
		t.Errorf("report of a verified peer: got %q, want its name", known)
	}
	if claim := rows[1]; !strings.Contains(claim, nodeID(7).String()) || !strings.Contains(claim, "only a claim") {
		t.Errorf("report that no key proves: got %q, want its id and a warning", claim)
	}
}

// checkStream: a change shows without reading all again.
func checkStream(t *testing.T, tab context.Context, h *harness) {
	t.Helper()
	h.hub.Publish(core.Change{Kind: ChangeResults, Payload: []core.Result{{
		Job:     core.Job{Probe: "https", Target: core.Target{Node: nodeID(1)}},
		Outcome: core.OutcomeSuccess, RTT: 4321 * time.Microsecond, Started: time.Now(),
	}}})
	until(t, tab, `document.querySelector("#nodes").innerText.includes("4.32 ms") && document.querySelector("#matrix").innerText.includes("4.32")`)
}

func checkInert(t *testing.T, tab context.Context, complaints func() []string) {
	t.Helper()
	if title := evaluate[string](t, tab, "document.title"); title != "self.example.net · NodeProbe" {
		t.Errorf("title: got %q: a payload ran", title)
	}
	if n := evaluate[int](t, tab, `document.querySelectorAll("img, main script").length`); n != 0 {
		t.Errorf("got %d elements made from payloads, want 0", n)
	}
	if all := complaints(); len(all) > 0 {
		t.Errorf("the page broke a rule: %q", all)
	}
}

// screenshot keeps a picture where NODEPROBE_SCREENSHOTS says.
func screenshot(t *testing.T, tab context.Context, name string) {
	t.Helper()
	dir := os.Getenv("NODEPROBE_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+name+".png", png, 0o600); err != nil {
		t.Fatal(err)
	}
}
