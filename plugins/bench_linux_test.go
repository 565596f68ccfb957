package plugins

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
)

// BenchmarkDispatch is the cost of a job that does nothing, with a real child:
// CPU of host and plugin together, with so many jobs unanswered at a time.
func BenchmarkDispatch(b *testing.B) {
	for _, outstanding := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("outstanding=%d", outstanding), func(b *testing.B) { dispatch(b, outstanding) })
	}
}

func dispatch(b *testing.B, outstanding int) {
	h := New(Options{RunDir: b.TempDir()})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	if err := h.Apply(ctx, []Spec{spec("a", "sdk", map[string]string{"noop": ""})}); err != nil {
		b.Fatal(err)
	}
	pid := h.Status()[0].PID
	job := core.Job{Probe: "noop", Timeout: 10 * time.Second, Target: core.Target{
		Node: core.KeyHash{1}.NodeID(), Key: core.KeyHash{1}, Endpoint: core.Endpoint{Host: "192.0.2.1", Port: 443},
	}}
	hostBefore, pluginBefore := hostCPU(b), pluginCPU(b, pid)
	b.ReportAllocs()
	b.ResetTimer()
	submitted, answered := 0, 0
	for answered < b.N {
		for submitted < b.N && submitted-answered < outstanding {
			submitted++
			job.ID, job.Due = uint64(submitted), time.Now()
			if err := h.Submit(job); err != nil {
				b.Fatal(err)
			}
		}
		for _, r := range <-h.Results() {
			if r.Outcome != core.OutcomeSuccess {
				b.Fatalf("got %v %s %s", r.Outcome, r.Reason, r.Message)
			}
			answered++
		}
	}
	b.StopTimer()
	host, plugin := hostCPU(b)-hostBefore, pluginCPU(b, pid)-pluginBefore
	perJob := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(b.N) }
	b.ReportMetric(perJob(host+plugin), "cpu-us/job")
	b.ReportMetric(perJob(host), "host-us/job")
	b.ReportMetric(perJob(plugin), "plugin-us/job")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
}

// hostCPU is what this process has used.
func hostCPU(b *testing.B) time.Duration {
	b.Helper()
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		b.Fatal(err)
	}
	return time.Duration(self.Utime.Nano() + self.Stime.Nano())
}

// pluginCPU is what pid has used, in ticks of 10 ms.
func pluginCPU(b *testing.B, pid int) (total time.Duration) {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	for _, f := range fields[11:13] {  // utime and stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		total += time.Duration(n) * tick
	}
	return total
}

// BenchmarkRestart is the time from the death of a plugin to its next answer.
func BenchmarkRestart(b *testing.B) {
	r := newRig(b, func(o *Options) { o.Tunables = Tunables{CrashLimit: 1 << 30} })
	r.apply(spec("a", "", map[string]string{"one": "label"}))
	var total time.Duration
	b.ResetTimer()
	for range b.N {
		r.serves("one")
		old := r.status("a").PID
		start := time.Now()
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		r.eventually("another process", func() bool { s := r.status("a"); return s.PID != old && s.PID != 0 })
		r.serves("one")
		total += time.Since(start)
		time.Sleep(10 * time.Millisecond)
	}
	b.ReportMetric(float64(total.Milliseconds())/float64(b.N), "ms/restart")
}
