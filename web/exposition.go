package web

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/seahow-uk/nodeprobe/core"
)

// exposition collects samples and writes them family by family.
type exposition struct {
	enc      expfmt.Encoder
	families map[string]*dto.MetricFamily
	samples  int
	err      error
}

// labels are names and values in turn.
func labels(pairs ...string) []*dto.LabelPair {
	all := make([]*dto.LabelPair, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, &dto.LabelPair{Name: &pairs[i], Value: new(strings.ToValidUTF8(pairs[i+1], "?"))})
	}
	return all
}

// gauge adds a sample, but nothing that is not a number.
func (e *exposition) gauge(name, help string, v float64, of ...string) {
	e.gaugeOf(name, help, v, labels(of...))
}

func (e *exposition) counter(name, help string, v uint64, of ...string) {
	e.add(name, help, dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: new(float64(v))}, Label: labels(of...)})
}

func (e *exposition) gaugeOf(name, help string, v float64, of []*dto.LabelPair) {
	if !math.IsNaN(v) {
		e.add(name, help, dto.MetricType_GAUGE, &dto.Metric{Gauge: &dto.Gauge{Value: &v}, Label: of})
	}
}

// add leaves out a second sample of the same path: two names may become one, and
// a scraper would refuse all of the answer.
func (e *exposition) add(name, help string, of dto.MetricType, m *dto.Metric) {
	f := e.families[name]
	if f == nil {
		if e.families == nil {
			e.families = map[string]*dto.MetricFamily{}
		}
		f = &dto.MetricFamily{Name: &name, Help: &help, Type: &of}
		e.families[name] = f
	}
	if n := len(f.Metric); n > 0 && slices.Equal(f.Metric[n-1].Label, m.Label) {
		return
	}
	f.Metric = append(f.Metric, m)
	e.samples++
}

// flush writes all families, by name.
func (e *exposition) flush() {
	for _, name := range slices.Sorted(maps.Keys(e.families)) {
		if e.err == nil {
			e.err = e.enc.Encode(e.families[name])
		}
	}
	e.families = nil
}

// metricName is what a probe calls a metric, as Prometheus allows it.
func metricName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// outcome is not a number when a run says nothing about the peer.
func outcome(o core.Outcome) float64 {
	switch o {
	case core.OutcomeSuccess:
		return 1
	case core.OutcomeFailure:
		return 0
	default:
		return math.NaN()
	}
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
