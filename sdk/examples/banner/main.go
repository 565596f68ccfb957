// Command banner is a NodeProbe plugin: it dials a TCP port and reads the first
// line that the service says of itself, as SSH, SMTP and FTP servers do.
package main

import (
	"bufio"
	"context"
	"strings"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

type config struct {
	Port   uint16 `json:"port" jsonschema:"TCP port to dial when the target names none"`
	Prefix string `json:"prefix" jsonschema:"what the first line must begin with"`
}

func (c *config) SetDefaults() { c.Port, c.Prefix = 22, "SSH-" }

type prober struct{ config }

func (p prober) Probe(ctx context.Context, t sdk.Target) (sdk.Result, error) {
	conn, r, err := sdk.Dial(ctx, t.Addr(p.Port)) // with the RTT, and stages dns and connect
	if err != nil {
		return r, err // the SDK knows "refused" from "timeout"
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	connected := time.Now()
	line, err := bufio.NewReaderSize(conn, 512).ReadSlice('\n')
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if err != nil {
		return r, err
	}
	r.Stages = append(r.Stages, sdk.Stage{Name: "banner", Took: time.Since(connected)})
	r.Metrics = []sdk.Metric{{Name: "banner_bytes", Value: float64(len(line))}}
	banner := strings.TrimSpace(string(line))
	r.Attributes = map[string]string{"banner": banner}
	if !strings.HasPrefix(banner, p.Prefix) {
		return r, sdk.Fail(sdk.ReasonUnexpected, "the banner is %.80q, want one that begins with %q", banner, p.Prefix)
	}
	return r, nil
}

func main() {
	sdk.Serve(sdk.NewProbe("banner", "1.0.0", func(c config, _ sdk.Env) (sdk.Prober, error) { return prober{c}, nil },
		sdk.Summary("reads the first line that a TCP service says"), sdk.Interval(time.Minute), sdk.Timeout(5*time.Second)))
}
