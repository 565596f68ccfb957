package path

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"time"
)

// udpFlow sends packets of STAMP with a TTL from one socket. Aimed at a
// reflector, the end answers with a reply, that nothing limits; aimed at a closed
// port, with ICMP.
type udpFlow struct {
	socket *socket
	to     netip.AddrPort
	// ask makes the packets; key also tells replies from anything else.
	ask request
	key []byte
	// sent is by sequence number: the kernel's time as soon as it tells.
	sent []time.Time
	// asked is what the packets say of when they were sent.
	asked []time.Time
	ids   map[uint32]int // sequence numbers of packets whose time is not told yet
	buf   []byte
}

// dialUDPFlow aims at a reflector, when there is one, or else at a port that should
// be closed.
func dialUDPFlow(port uint16, to netip.AddrPort, caller callerID, key []byte) (flowSocket, error) {
	var (
		s   *socket
		err error
	)
	for range portTries {
		if s, err = dial(port, to); err == nil || !portTaken(err) {
			break
		}
		port++
	}
	if err != nil {
		return nil, err
	}
	var session [2]byte
	_, _ = rand.Read(session[:]) // cannot fail
	return &udpFlow{
		socket: s, to: to, key: key, buf: make([]byte, 0, udpFlowBuffer),
		ids: map[uint32]int{},
		ask: request{ssid: binary.BigEndian.Uint16(session[:]), caller: caller},
	}, nil
}

// udpFlowBuffer holds what is sent, and what comes back.
const udpFlowBuffer = 1500

func (f *udpFlow) ends() (source, destination netip.AddrPort) { return f.socket.local(), f.to }

func (f *udpFlow) close() { _ = f.socket.close() }

func (f *udpFlow) send(seq, ttl int) error {
	r := f.ask
	r.seq, r.sent = uint32(seq), time.Now()
	for len(f.sent) <= seq {
		f.sent, f.asked = append(f.sent, r.sent), append(f.asked, r.sent)
	}
	f.sent[seq], f.asked[seq] = r.sent, r.sent
	id, err := f.socket.send(r.appendTo(f.buf[:0], f.key), netip.AddrPort{}, netip.Addr{}, ttl)
	if err == nil {
		f.ids[id] = seq
	}
	return err
}

// receive waits for the first answer and takes those that are there already.
func (f *udpFlow) receive(until time.Time) ([]answer, error) {
	var list []answer
	for {
		a, err := f.socket.receive(f.buf[:cap(f.buf)], until)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		if got, ok := f.read(a); ok {
			list = append(list, got)
			until = time.Now()
		}
	}
}

// read is what an arrival says of the way; false when it says nothing.
func (f *udpFlow) read(a arrival) (answer, bool) {
	got := answer{seq: unknownProbe, from: f.to.Addr(), kind: answerReached, note: "reply"}
	var residence time.Duration
	switch a.kind {
	case arrivalPacket:
		r, err := parseReply(a.payload, f.key)
		if err != nil || r.ssid != f.ask.ssid {
			return got, false
		}
		got.seq, residence = int(r.askedSeq), r.sent.Sub(r.received)
	case arrivalError:
		if a.icmp.byHost {
			return got, false
		}
		ssid, seq, ok := quoted(a.payload)
		switch {
		case ok && (ssid != f.ask.ssid || int64(seq) >= int64(len(f.asked)) || !parseTime(a.payload[4:]).Equal(f.asked[seq])):
			return got, false // forged: who does not see our packets cannot know these
		case ok:
			got.seq = int(seq)
		case len(a.payload) >= 16:
			return got, false // quotes something else: not about a packet of this flow
		}
		if !got.describe(a.icmp, f.to.Addr()) {
			return got, false
		}
	case arrivalSent:
		// Not if it is another packet's: see train.
		if seq, ok := f.ids[a.id]; ok && a.at.After(f.sent[seq]) {
			f.sent[seq] = a.at
		}
		return got, false
	default:
		return got, false
	}
	if got.seq >= len(f.sent) {
		return got, false
	}
	if got.seq >= 0 {
		got.rtt = a.at.Sub(f.sent[got.seq]) - max(residence, 0)
	}
	return got, true
}

// describe reads an ICMP error; false when it says nothing of the way. The end
// may refuse a port in any words, others only say that they let nothing pass.
func (a *answer) describe(icmp icmpError, end netip.Addr) bool {
	a.from, a.note = icmp.router, ""
	switch icmp.what {
	case icmpTimeExceeded:
		a.kind = answerPassed
		return true
	case icmpPort:
		a.kind, a.note = answerReached, "port unreachable"
		return true
	case icmpProhibited:
		a.note = "administratively prohibited"
	case icmpUnreachable:
		a.note = "unreachable"
	default:
		return false
	}
	a.kind = answerRefused
	if icmp.router == end {
		a.kind = answerReached
	}
	return true
}
