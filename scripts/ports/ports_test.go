package ports

import (
	"fmt"
	"net"
	"testing"
)

func TestFree(t *testing.T) {
	given := map[int]bool{}
	for range 200 {
		port, err := Free(3)
		if err != nil {
			t.Fatal(err)
		}
		for p := port; p < port+3; p++ {
			if given[p] || p < first || p > last {
				t.Fatalf("got %d, twice or out of range", p)
			}
			given[p] = true
		}
	}
}

// TestFreeAtTheEnd: a run of ports does not reach beyond the last, and one that is
// in use is passed over.
func TestFreeAtTheEnd(t *testing.T) {
	taken.Store(last - first - 2)
	if port, err := Free(3); err != nil || port+3 > last {
		t.Errorf("got %d, %v, want three ports below %d", port, err, last)
	}
	used, err := Free(1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", used))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	taken.Add(^uint32(0))
	if port, err := Free(1); err != nil || port == used {
		t.Errorf("got %d, %v, want another than %d, that is in use", port, err, used)
	}
}
