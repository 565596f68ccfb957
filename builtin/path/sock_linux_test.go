package path

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"
)

// soon is long enough for the loopback of a busy machine.
func soon() time.Time { return time.Now().Add(10 * time.Second) }

func TestSocket(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			addr := netip.MustParseAddr(ip)
			server, err := listen(netip.AddrPortFrom(addr, 0), roleReflector)
			if err != nil {
				t.Skip(err)
			}
			defer server.close()
			client, err := dial(0, server.local())
			if err != nil {
				t.Fatal(err)
			}
			defer client.close()
			before := time.Now()
			id, err := client.send([]byte("one"), netip.AddrPort{}, netip.Addr{}, 42)
			if err != nil || id != 0 {
				t.Fatalf("got id %d, %v, want 0", id, err)
			}
			buf := make([]byte, 100)
			a, err := server.receive(buf, soon())
			if err != nil {
				t.Fatal(err)
			}
			if a.kind != arrivalPacket || string(a.payload) != "one" || a.cut || a.ttl != 42 || a.to != addr ||
				a.from != client.local() || a.index == 0 || a.at.Before(before) || a.at.After(a.user) {
				t.Errorf("got %+v", a)
			}
			sent, err := client.receive(buf, soon())
			if err != nil || sent.kind != arrivalSent || sent.id != 0 || sent.at.Before(before) || sent.at.After(a.at) {
				t.Errorf("got %+v, %v, want the time of sending, before %v", sent, err, a.at)
			}
			if _, err := server.send(bytes.Repeat([]byte{1}, 200), a.from, a.to, 0); err != nil {
				t.Fatal(err)
			}
			if a, err = client.receive(buf, soon()); err != nil || !a.cut || len(a.payload) != 100 {
				t.Errorf("got %+v, %v, want a packet cut to 100 bytes", a, err)
			}
		})
	}
}

func TestSocketTellsClosedPort(t *testing.T) {
	gone, err := listen(netip.MustParseAddrPort("127.0.0.1:0"), roleReflector)
	if err != nil {
		t.Fatal(err)
	}
	to := gone.local()
	gone.close()
	s, err := dial(0, to)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	payload := (&request{seq: 5, ssid: 6}).appendTo(nil, testKey)
	// The second send meets the error of the first, and goes out all the same.
	for range 2 {
		if _, err := s.send(payload, netip.AddrPort{}, netip.Addr{}, 0); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 2000)
	for errorsSeen := 0; errorsSeen < 2; {
		a, err := s.receive(buf, soon())
		if err != nil {
			t.Fatal(err)
		}
		if a.kind == arrivalSent {
			continue
		}
		errorsSeen++
		if ssid, seq, ok := quoted(a.payload); a.kind != arrivalError || a.icmp.what != icmpPort || a.from != to || !ok || ssid != 6 || seq != 5 {
			t.Errorf("got %+v", a)
		}
	}
}

func TestSocketTooBig(t *testing.T) {
	s, err := dial(0, netip.MustParseAddrPort("127.0.0.1:9"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if _, err := s.send(make([]byte, maxPayload+1), netip.AddrPort{}, netip.Addr{}, 0); !tooBigHere(err) {
		t.Errorf("got %v, want too big", err)
	}
	past, got := time.Now().Add(-time.Second), 0
	for ; ; got++ {
		if _, err = s.receive(make([]byte, 10), past); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) || got == 0 {
		t.Errorf("got %v after %d, want what was there, then a deadline", err, got)
	}
	if mtu := s.kernelMTU(); mtu < 1280 {
		t.Errorf("got kernel MTU %d of loopback", mtu)
	}
}
