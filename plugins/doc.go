// Package plugins is the host's side of the plugin contract: it verifies,
// starts, configures, feeds and supervises plugin processes.
//
// One supervisor goroutine owns each plugin. Under it lives at most one process
// at a time, with one stream that carries all its jobs. Every submitted job gets
// exactly one result, whatever becomes of the process. A plugin that breaks
// costs no peer its good name: its runs are answered as plugin errors, its state
// and a one-sentence problem are in Status, and the other plugins notice nothing.
//
// Only Linux gives the full protection (Pdeathsig, memory limit, execution of
// the very file that was checked); elsewhere the life-line pipe alone ends the
// plugins of a host that was killed.
package plugins
