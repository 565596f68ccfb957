package core

import (
	"maps"
	"slices"
	"sync"
)

// maxDetails bounds the bytes that are kept of one path's attributes.
const maxDetails = 2 << 10

// details are what self's latest runs told beside figures: they stay here, neither
// stored nor passed on.
type details struct {
	mu    sync.Mutex // guards paths
	paths map[viewKey]detail
}

type detail struct {
	attributes map[string]string
	documents  map[string]string // ids by name
}

func newDetails() *details { return &details{paths: map[viewKey]detail{}} }

// put keeps those of r, and marks the documents that are not as they were. A run
// that found none leaves the last ones.
func (d *details) put(r Result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key := viewKey{r.Job.Target.Node, r.Job.Probe}
	now := detail{attributes: trimmed(r.Attributes), documents: d.paths[key].documents}
	for i := range r.Documents {
		doc := &r.Documents[i]
		if doc.Changed = now.documents[doc.Name] != doc.ID; !doc.Changed {
			continue
		}
		if now.documents = maps.Clone(now.documents); now.documents == nil || len(now.documents) >= maxConditions {
			now.documents = map[string]string{}
		}
		now.documents[doc.Name] = doc.ID
	}
	d.paths[key] = now
}

// trimmed are the attributes that fit, the first by name.
func trimmed(all map[string]string) map[string]string {
	size := 0
	for name, value := range all {
		size += len(name) + len(value)
	}
	if size <= maxDetails {
		return all
	}
	out := map[string]string{}
	size = 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if size += len(name) + len(all[name]); size > maxDetails {
			break
		}
		out[name] = all[name]
	}
	return out
}

func (d *details) trim(keep func(node NodeID, probe string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.paths, func(key viewKey, _ detail) bool { return !keep(key.node, key.probe) })
}

// Attributes are the facts that the latest run of a probe told of the path to a
// node. They are shared: do not modify them.
func (e *Engine) Attributes(node NodeID, probe string) map[string]string {
	e.details.mu.Lock()
	defer e.details.mu.Unlock()
	return e.details.paths[viewKey{node, probe}].attributes
}
