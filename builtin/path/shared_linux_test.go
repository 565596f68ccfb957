package path

import (
	"errors"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func TestReflectorsShareAPort(t *testing.T) {
	probe := startTestReflector(t)
	var r reflectors
	log := hclog.NewNullLogger()
	if _, err := r.take(probe.port(), testSecret, log); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v for a port that is taken", err)
	}
	free, err := startReflector(0, testSecret, new(reflectorCounts), log)
	if err != nil {
		t.Fatal(err)
	}
	port := free.port()
	if err := free.close(); err != nil {
		t.Fatal(err)
	}
	first, err := r.take(port, testSecret, log)
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.take(port, testSecret, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.take(port, testKey, log); err == nil {
		t.Error("got a reflector for another secret")
	}
	for _, release := range []func() error{first, first} {
		if err := release(); err != nil {
			t.Error(err)
		}
	}
	if len(r.byPort) != 1 {
		t.Error("got the reflector closed under its second user")
	}
	if err := second(); err != nil || len(r.byPort) != 0 {
		t.Errorf("got %v and %d reflectors after the last user", err, len(r.byPort))
	}
}
