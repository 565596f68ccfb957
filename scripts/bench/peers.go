package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seahow-uk/nodeprobe/core"
	"github.com/seahow-uk/nodeprobe/core/identity"
	"github.com/seahow-uk/nodeprobe/core/wire"
	"github.com/seahow-uk/nodeprobe/sdk"
)

// servePeersCommand as the first argument makes this binary the peers of the
// node under test: a process of its own, so that what they cost is not counted.
const servePeersCommand = "serve-peers"

// peers are the fake nodes, seen from the process that started them.
type peers struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	ports []uint16
}

// startPeers starts n fake nodes on ports of 127.0.0.1.
func startPeers(n int) (*peers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &peers{cmd: exec.Command(self, servePeersCommand, strconv.Itoa(n))}
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.stop()
		return nil, fmt.Errorf("peers: %w", err)
	}
	for field := range strings.FieldsSeq(line) {
		port, err := strconv.ParseUint(field, 10, 16)
		if err != nil {
			p.stop()
			return nil, err
		}
		p.ports = append(p.ports, uint16(port))
	}
	return p, nil
}

// polls is how often the peers were polled until now.
func (p *peers) polls() (int, error) {
	return p.ask("polls")
}

// pollBack lets every peer poll the node at that port from now on.
func (p *peers) pollBack(port uint16) error {
	_, err := p.ask(strconv.Itoa(int(port)))
	return err
}

func (p *peers) ask(question string) (int, error) {
	if _, err := fmt.Fprintln(p.in, question); err != nil {
		return 0, err
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

func (p *peers) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// servePeers prints the ports, and the number of polls for every line it reads. A
// line that is a number is the port of a node, to be polled by all.
func servePeers(args []string) error {
	n, err := strconv.Atoi(strings.Join(args, " "))
	if err != nil {
		return err
	}
	f := &fakes{began: time.Now(), secret: make([]byte, 32)}
	_, _ = rand.Read(f.secret)
	var ports []uint16
	var names []string
	for range n {
		port, err := f.listen()
		if err != nil {
			return err
		}
		ports, names = append(ports, port), append(names, strconv.Itoa(int(port)))
	}
	stop, err := startReflectors(ports, f.secret)
	if err != nil {
		return fmt.Errorf("reflectors: %w", err)
	}
	defer stop()
	fmt.Println(strings.Join(names, " "))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if port, err := strconv.ParseUint(lines.Text(), 10, 16); err == nil {
			f.pollNode(uint16(port))
		}
		fmt.Println(f.polls.Load())
	}
	return nil
}

// fakes are all peers in the process that serves them.
type fakes struct {
	began  time.Time
	secret []byte // of their reflectors
	nodes  []core.Node
	certs  []tls.Certificate
	polls  atomic.Int64
}

// pollNode lets every peer poll the node at port: twice a minute, each at its own
// time and over a connection of its own, as the https probe does.
func (f *fakes) pollNode(port uint16) {
	const every = 30 * time.Second
	for i, cert := range f.certs {
		client := http.Client{Timeout: every / 2, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{cert}, InsecureSkipVerify: true},
		}}
		go func() {
			var tag string
			time.Sleep(every / 4 * time.Duration(i) / time.Duration(len(f.certs)))
			for {
				tag = pollOnce(&client, port, tag, f.nodes[i].Endpoints[0])
				time.Sleep(every)
			}
		}()
	}
}

// pollOnce is the tag of the answer.
func pollOnce(client *http.Client, port uint16, tag string, advertise core.Endpoint) string {
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/nodeinfo", port), nil)
	if err != nil {
		return tag
	}
	req.Header.Set("NodeProbe-Advertise", advertise.String())
	req.Header.Set("If-None-Match", tag)
	resp, err := client.Do(req)
	if err != nil {
		return tag
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Header.Get("ETag")
}

// listen adds a peer.
func (f *fakes) listen() (uint16, error) {
	cert, key, err := newCertificate()
	if err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	at := core.Endpoint{Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port)}
	self := core.Self{
		ID: key.NodeID(), Key: key, FQDN: fmt.Sprintf("peer-%d.example", len(f.nodes)+1),
		Version: "bench", BootID: key.NodeID().String(), Advertise: at, Started: f.began,
	}
	f.nodes = append(f.nodes, core.Node{
		ID: self.ID, Key: key, Proven: true, FQDN: self.FQDN, Endpoints: []core.Endpoint{at},
		DiscoveredBy: "seed", State: core.StateAlive, FirstSeen: f.began, LastSeen: f.began,
	})
	f.certs = append(f.certs, cert)
	mux := http.NewServeMux()
	mux.Handle("GET /nodeinfo", f.nodeInfo(self))
	mux.HandleFunc("POST /report", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	server := &http.Server{
		Handler: mux, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert, SessionTicketsDisabled: true,
		},
	}
	go func() { _ = server.ServeTLS(l, "", "") }()
	return at.Port, nil
}

// nodeInfo answers as a node does in a mesh where nothing happens: "not
// modified" but for once in core.ViewHold, each peer at its own time.
func (f *fakes) nodeInfo(self core.Self) http.Handler {
	phase := time.Duration(binary.BigEndian.Uint64(self.Key[:]) % uint64(core.ViewHold))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.polls.Add(1)
		tag := fmt.Sprintf(`"%d"`, (time.Since(f.began)+phase)/core.ViewHold)
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		now := time.Now()
		var view []core.PathStatus
		for _, n := range f.nodes {
			view = append(view, core.PathStatus{
				Source: self.ID, Destination: n.ID, Probe: "https",
				Outcome: core.OutcomeSuccess, RTT: 400 * time.Microsecond, At: now,
			})
		}
		w.Header().Set("Content-Type", "application/json")
		body := wire.AddServices(wire.NewNodeInfo(self, self.Advertise.Host, f.nodes, view).Encode(), f.services(self, r))
		for piece := range slices.Chunk(body, 2<<10) { // as a node does
			_, _ = w.Write(piece)
			_ = http.NewResponseController(w).Flush()
		}
	})
}

// services of a peer: the reflector, with the caller's key.
func (f *fakes) services(self core.Self, r *http.Request) []core.Service {
	if len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	caller := identity.KeyHashOf(r.TLS.PeerCertificates[0])
	return []core.Service{{
		Name: "reflector", Port: self.Advertise.Port, Key: core.ServiceKey(sdk.ServiceKey(f.secret, caller[:])),
	}}
}

func newCertificate() (tls.Certificate, core.KeyHash, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, core.KeyHash{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peer"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, core.KeyHash{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, core.KeyHash{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, identity.KeyHashOf(leaf), nil
}
