package wire

import "time"

// The values of Health.Status.
const (
	Healthy   = "healthy"
	Unhealthy = "unhealthy"
)

// Health is the answer to GET /health. The first seven fields are the original
// contract; the others are ours.
type Health struct {
	KnownNodes int       `json:"known_nodes"`
	NodeFQDN   string    `json:"node_fqdn"`
	NodeID     string    `json:"node_id"`
	NodeIP     string    `json:"node_ip"`
	Status     string    `json:"status"` // healthy or unhealthy
	Timestamp  time.Time `json:"timestamp"`
	Uptime     string    `json:"uptime"` // as Go writes durations, "1h2m3s"

	Version string  `json:"version"`
	Seconds int64   `json:"uptime_seconds"`
	Checks  []Check `json:"checks"`
}

// Check is one thing that was looked at.
type Check struct {
	Name string `json:"name"`
	// Status is ok, warning (the node does its work in spite of it) or failed.
	Status string `json:"status"`
	// Problem is one sentence; absent when the status is ok.
	Problem string `json:"problem,omitempty"`
}
