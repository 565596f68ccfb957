package web

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/seahow-uk/nodeprobe/core"
)

// failure is the body of every answer that is not a success, but for those of
// the wire contract.
type failure struct {
	Error string `json:"error"`
	// Parameter is the one that is wrong, if one is.
	Parameter string `json:"parameter,omitempty"`
}

func failJSON(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, failure{Error: message})
}

// refuseInJSON lets mux answer, and words in JSON what it refuses by itself below
// /api/: paths and methods that are not there.
func refuseInJSON(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/") {
			if _, pattern := mux.Handler(r); pattern == "" {
				w = &refusal{ResponseWriter: w, method: r.Method}
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// refusal replaces the body of an error.
type refusal struct {
	http.ResponseWriter
	method string
	done   bool
}

func (w *refusal) WriteHeader(status int) {
	switch status {
	case http.StatusNotFound:
		failJSON(w.ResponseWriter, status, "there is nothing of that name here")
	case http.StatusMethodNotAllowed:
		failJSON(w.ResponseWriter, status, core.CleanText(w.method, 32)+" is not allowed here; "+w.Header().Get("Allow")+" is")
	default: // the way to the right path
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.done = true
}

func (w *refusal) Write(b []byte) (int, error) {
	if w.done {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// writeJSON encodes all of v before it sends anything: what cannot be encoded
// is a 500 and not half an answer.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	writeBody(w, status, "application/json", body)
}

func writeBody(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller is gone: nobody is left to tell
}
