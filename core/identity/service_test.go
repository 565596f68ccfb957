package identity

import (
	"bytes"
	"testing"

	"github.com/seahow-uk/nodeprobe/core"
)

func TestServiceSecretsSurviveARestartAndDiffer(t *testing.T) {
	dir := t.TempDir()
	open := func(dir string) *Identity {
		i, err := Open(dir, Options{Hosts: func() []string { return []string{"a.example"} }})
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	i := open(dir)
	secret, caller := i.ServiceSecret("echo"), core.KeyHash{1}
	if len(secret) != 32 || !bytes.Equal(secret, open(dir).ServiceSecret("echo")) {
		t.Errorf("got %d bytes, want the same 32 after a restart", len(secret))
	}
	if bytes.Equal(secret, i.ServiceSecret("other")) || bytes.Equal(secret, open(t.TempDir()).ServiceSecret("echo")) {
		t.Error("another service, or another node, has the same secret")
	}
	if bytes.Contains(i.PEM(), secret) {
		t.Error("the secret is the key itself")
	}
	key := i.ServiceKey("echo", caller)
	if key == i.ServiceKey("echo", core.KeyHash{2}) || key == i.ServiceKey("other", caller) || len(key) != 32 {
		t.Error("keys of two callers, or of two services, are alike")
	}
}
