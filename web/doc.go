// Package web is the HTTPS server of a node: the wire contract (/nodeinfo,
// /health, /report), the API under /api/v1, its live stream, and the dashboard.
//
// Callers are authenticated in TLS, where a client certificate is optional, and
// authorised here: a verified peer is one whose key the mesh knows. Whatever
// comes in is bounded in size, time, rate and number; too much of it is a 4xx
// or 503 and never memory. What changes something is served on the admin
// socket only.
//
// API.md describes every endpoint.
package web
