package sdk

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// Finding is a condition that holds on the path to the target. The host opens an
// event when it appears, and ends it when two successes or failures in a row of the
// same probe on the same path no longer have it: report it as long as it holds. What
// comes again within ten minutes counts once two in a row have it.
type Finding struct {
	// Kind is a word of a-z, 0-9 and _, a letter first, at most 64 bytes:
	// "mtu_black_hole". Probes that find the same thing use the same word.
	Kind string
	// Message is one sentence for people, at most 256 bytes, and the same as long as
	// nothing changes.
	Message string
	// Instant says that it has happened and does not last: "the MTU fell from 1500
	// to 1400". It is told once for each result that has it.
	Instant bool
}

// Document is what was found out about the path and is more than numbers: its
// hops. The host keeps each that differs from the one before.
type Document struct {
	// Name is a word like [Finding.Kind]; one document of a name in a result.
	Name string
	// ID says what counts as a difference: documents with the same ID, at most 64
	// bytes, say the same, and only the first of them is kept. Empty: the text of
	// JSON decides.
	ID string
	// JSON is an object of at most 16 KiB, nested at most 16 deep.
	JSON json.RawMessage
}

// Bounds of findings and documents.
const (
	maxFindings      = 8
	maxDocuments     = 4
	maxDocumentBytes = 16 << 10
)

// isSnake tells that s is like "mtu_black_hole".
func isSnake(s string) bool {
	if s == "" || len(s) > maxName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}

// findingsToProto leaves out those without a proper kind.
func findingsToProto(in []Finding) []*pluginv1.Finding {
	var out []*pluginv1.Finding
	for _, f := range in {
		if len(out) < maxFindings && isSnake(f.Kind) {
			out = append(out, &pluginv1.Finding{Kind: f.Kind, Message: cleanText(f.Message, maxMessageText), Instant: f.Instant})
		}
	}
	return out
}

// documentsToProto leaves out what is no document.
func documentsToProto(in []Document) []*pluginv1.Document {
	var out []*pluginv1.Document
	for _, d := range in {
		if len(out) < maxDocuments && isSnake(d.Name) && isObject(d.JSON) {
			out = append(out, &pluginv1.Document{Name: d.Name, Id: cleanText(d.ID, maxName), Json: d.JSON})
		}
	}
	return out
}

func isObject(text []byte) bool {
	return len(text) <= maxDocumentBytes && utf8.Valid(text) && bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n"), []byte("{")) && json.Valid(text)
}

func findingsFromProto(in []*pluginv1.Finding) []Finding {
	var out []Finding
	for _, f := range in {
		out = append(out, Finding{f.GetKind(), f.GetMessage(), f.GetInstant()})
	}
	return out
}

func documentsFromProto(in []*pluginv1.Document) []Document {
	var out []Document
	for _, d := range in {
		out = append(out, Document{d.GetName(), d.GetId(), d.GetJson()})
	}
	return out
}
