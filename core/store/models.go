package store

import "github.com/uptrace/bun"

// The models map the tables of migrations/. They never leave the package: what
// callers see are the types of core.

type nodeRow struct {
	bun.BaseModel `bun:"table:node,alias:n"`

	ID           string `bun:"id,pk"`
	KeySHA256    string `bun:"key_sha256"`
	Proven       int    `bun:"proven"`
	FQDN         string `bun:"fqdn"`
	IP           string `bun:"ip"`
	Endpoints    string `bun:"endpoints"`
	Version      string `bun:"version"`
	BootID       string `bun:"boot_id"`
	DiscoveredBy string `bun:"discovered_by"`
	Seed         int    `bun:"seed"`
	State        string `bun:"state"`
	Reason       string `bun:"reason"`
	Message      string `bun:"message"`
	SinceMS      *int64 `bun:"since_ms"`
	FirstSeenMS  *int64 `bun:"first_seen_ms"`
	LastSeenMS   *int64 `bun:"last_seen_ms"`
	Failures     int    `bun:"failures"`
}

type seriesRow struct {
	bun.BaseModel `bun:"table:series,alias:s"`

	ID     int64  `bun:"id,pk"`
	Node   string `bun:"node"`
	Probe  string `bun:"probe"`
	Metric string `bun:"metric"`
	Scale  int64  `bun:"scale"`
}

type codeRow struct {
	bun.BaseModel `bun:"table:code,alias:c"`

	ID      int64  `bun:"id,pk"`
	Outcome string `bun:"outcome"`
	Reason  string `bun:"reason"`
	Message string `bun:"message"`
	// UsedHour is the newest hour that has results with the code.
	UsedHour int64 `bun:"used_hour"`
}

type tailRow struct {
	bun.BaseModel `bun:"table:tail,alias:t"`

	TsMS        int64  `bun:"ts_ms,pk"`
	SeriesID    int64  `bun:"series_id,pk"`
	ScaledValue *int64 `bun:"scaled_value"`
	Status      int64  `bun:"status"`
}

func (r *tailRow) run() run {
	x := run{ms: r.TsMS, status: r.Status}
	if r.ScaledValue != nil {
		x.sample = sample{*r.ScaledValue, true}
	}
	return x
}

type chunkRow struct {
	bun.BaseModel `bun:"table:chunk,alias:h"`

	ID   int64  `bun:"id,pk"`
	N    int64  `bun:"n"`
	Data []byte `bun:"data"`
}

type rollupRow struct {
	bun.BaseModel `bun:"table:rollup,alias:u"`

	ID   int64  `bun:"id,pk"`
	Data []byte `bun:"data"`
}

type progressRow struct {
	bun.BaseModel `bun:"table:progress,alias:g"`

	Name string `bun:"name,pk"`
	Hour int64  `bun:"hour"`
}

type latestRow struct {
	bun.BaseModel `bun:"table:latest,alias:l"`

	SeriesID int64  `bun:"series_id,pk"`
	TsMS     int64  `bun:"ts_ms"`
	RTTUS    *int64 `bun:"rtt_us"`
	Outcome  int    `bun:"outcome"`
	Reason   string `bun:"reason"`
	Message  string `bun:"message"`
	Metrics  string `bun:"metrics"`
}

type viewRow struct {
	bun.BaseModel `bun:"table:pair_latest,alias:v"`

	Source string `bun:"source,pk"`
	AtMS   int64  `bun:"at_ms"`
	Pairs  int    `bun:"pairs"`
	Packed []byte `bun:"packed"`
}

type frameRow struct {
	bun.BaseModel `bun:"table:matrix_frame,alias:f"`

	ID   int64  `bun:"id,pk"`
	Data []byte `bun:"data"`
}

type nameRow struct {
	bun.BaseModel `bun:"table:matrix_name,alias:m"`

	ID       int64  `bun:"id,pk"`
	Name     string `bun:"name"`
	UsedHour int64  `bun:"used_hour"`
}

type eventRow struct {
	bun.BaseModel `bun:"table:event,alias:e"`

	ID      int64  `bun:"id,pk,autoincrement"`
	Kind    string `bun:"kind"`
	Subject string `bun:"subject"`
	Source  string `bun:"source"`
	Message string `bun:"message"`
	BeganUS int64  `bun:"began_us"`
	EndedUS *int64 `bun:"ended_us"`
}

type pluginRow struct {
	bun.BaseModel `bun:"table:plugin,alias:p"`

	Name      string `bun:"name,pk"`
	Disabled  int    `bun:"disabled"`
	Problem   string `bun:"problem"`
	Restarts  int    `bun:"restarts"`
	ChangedMS *int64 `bun:"changed_ms"`
}

type reportRow struct {
	bun.BaseModel `bun:"table:report,alias:r"`

	Node       string `bun:"node,pk"`
	Verified   int    `bun:"verified,pk"`
	ReceivedMS int64  `bun:"received_ms"`
	SentMS     int64  `bun:"sent_ms"`
	Sender     string `bun:"sender"`
	NodeCount  int    `bun:"node_count"`
	PathCount  int    `bun:"path_count"`
	JSONBytes  int64  `bun:"json_bytes"`
	Body       []byte `bun:"body"`
}

type outboxRow struct {
	bun.BaseModel `bun:"table:outbox,alias:o"`

	Seq     int64  `bun:"seq,pk,autoincrement"`
	Kind    string `bun:"kind"`
	AtMS    int64  `bun:"at_ms"`
	Payload []byte `bun:"payload"`
}

type cursorRow struct {
	bun.BaseModel `bun:"table:cursors,alias:k"`

	Reporter string `bun:"reporter,pk"`
	AckedSeq int64  `bun:"acked_seq"`
	Wants    string `bun:"wants"`
}
