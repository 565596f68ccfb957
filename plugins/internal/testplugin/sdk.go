package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// echo is the configuration of a probe as an author writes it.
type echo struct {
	Do    string `json:"do"`
	Label string `json:"label"`
}

// serveSDK is a plugin as a third party would make it.
func serveSDK() {
	sdk.Serve(sdk.NewPlugin("test", "1.2.3",
		sdk.NewProbe("echo", "1.0.0", newEcho, sdk.Summary("answers"), sdk.Interval(7*time.Second), sdk.Timeout(3*time.Second),
			sdk.Counts(func() map[string]uint64 { return map[string]uint64{"knocks": 3, "not a name": 1} })),
		sdk.NewProbe("peer", "1.0.0", newPeer, sdk.Summary("talks to its like"), sdk.Serves("echo"), sdk.Needs(sdk.CapabilityServices),
			sdk.On(sdk.Occasions()...)),
		sdk.NewReporter("sink", "1.0.0", newSink, sdk.Wants("snapshot"))))
}

func newEcho(c echo, env sdk.Env) (sdk.Prober, error) {
	return sdk.ProberFunc(func(ctx context.Context, t sdk.Target) (sdk.Result, error) {
		switch c.Do {
		case "":
			return sdk.Result{RTT: 200 * time.Microsecond}, nil
		case "fail":
			return sdk.Result{}, sdk.Fail(sdk.ReasonRefused, "nobody listens on %s", t.Host)
		case "unsupported":
			return sdk.Result{}, sdk.Unsupported("no such thing here")
		case "panic":
			panic("boom in a probe")
		case "overrun":
			select {}
		case "wait":
			env.Log.Warn("waits for its deadline")
			<-ctx.Done()
		case "print":
			fmt.Println("an author's print")
			env.Log.Warn("an author's warning", "host", t.Host)
		}
		return sdk.Result{RTT: 200 * time.Microsecond, Attributes: map[string]string{"label": c.Label}}, ctx.Err()
	}), nil
}

func newSink(struct{}, sdk.Env) (sdk.Reporter, error) {
	return sdk.ReporterFunc(func(_ context.Context, b sdk.Batch) (uint64, error) {
		return b.Records[0].Seq, sdk.Retryable(errors.New("the rest later"), time.Minute)
	}), nil
}
