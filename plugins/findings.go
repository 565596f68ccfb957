package plugins

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/seahow-uk/nodeprobe/core"
	pluginv1 "github.com/seahow-uk/nodeprobe/sdk/proto/v1"
)

// Bounds of findings and documents, the same as the SDK's.
const (
	maxFindings      = 8
	maxDocuments     = 4
	maxDocumentBytes = 16 << 10
	maxDocumentDepth = 16
)

// isSnake tells that s is like "mtu_black_hole".
func isSnake(s string) bool {
	return isWord(s) && !bytes.ContainsAny([]byte(s), ".-")
}

// findingsOf leaves out findings without a proper kind, with one of core's own,
// and a second one of a kind.
func findingsOf(in []*pluginv1.Finding) []core.Finding {
	var out []core.Finding
	for _, f := range in[:min(len(in), maxFindings)] {
		finding := core.Finding{
			Kind: core.EventKind(f.GetKind()), Message: core.CleanText(f.GetMessage(), maxMessageText), Instant: f.GetInstant(),
		}
		twice := slices.ContainsFunc(out, func(o core.Finding) bool { return o.Kind == finding.Kind && o.Instant == finding.Instant })
		if isSnake(f.GetKind()) && !finding.Kind.Core() && !twice {
			out = append(out, finding)
		}
	}
	return out
}

// documentsOf leaves out what is no JSON object, and a second one of a name. What
// has no id of its own gets that of its text.
func documentsOf(in []*pluginv1.Document) []core.Document {
	var out []core.Document
	for _, d := range in[:min(len(in), maxDocuments)] {
		text, ok := object(d.GetJson())
		twice := slices.ContainsFunc(out, func(o core.Document) bool { return o.Name == d.GetName() })
		if !ok || !isSnake(d.GetName()) || twice {
			continue
		}
		id := core.CleanText(d.GetId(), maxNameText)
		if id == "" {
			sum := sha256.Sum256(text)
			id = hex.EncodeToString(sum[:16])
		}
		out = append(out, core.Document{Name: d.GetName(), ID: id, JSON: text})
	}
	return out
}

// object is text as a JSON object without blanks. Whoever shows it must not be
// led into depths.
func object(text []byte) ([]byte, bool) {
	if len(text) > maxDocumentBytes || !utf8.Valid(text) {
		return nil, false
	}
	var out bytes.Buffer
	if json.Compact(&out, text) != nil || !bytes.HasPrefix(out.Bytes(), []byte("{")) || depth(out.Bytes()) > maxDocumentDepth {
		return nil, false
	}
	return out.Bytes(), true
}

// depth is how deep a valid JSON text nests.
func depth(text []byte) (deepest int) {
	level, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++ // only in strings
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}

// occasionsOf are those that this host knows, each once.
func occasionsOf(in []string) []core.Occasion {
	var out []core.Occasion
	for _, o := range core.Occasions() {
		if slices.Contains(in, string(o)) {
			out = append(out, o)
		}
	}
	return out
}
