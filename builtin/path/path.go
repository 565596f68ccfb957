package path

import (
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/seahow-uk/nodeprobe/sdk"
)

// serviceReflector is the name of the reflector among a node's services: STAMP with
// the TLVs of this package, over UDP.
const serviceReflector = "reflector"

// Plugin offers the probes alone.
func Plugin() sdk.Plugin { return sdk.NewPlugin("path", version, Parts()...) }

// Parts are the probes, to be offered by a plugin; with them comes the reflector that
// those of other nodes ask.
func Parts() []sdk.Part {
	shared := new(reflectors)
	return []sdk.Part{
		pmtuPart(shared, sdk.Needs(sdk.CapabilityServices), sdk.Serves(serviceReflector), sdk.Counts(shared.counts.byName),
			sdk.On(sdk.OccasionServices, sdk.OccasionRecovery, sdk.OccasionHint)),
		stampPart(sdk.Needs(sdk.CapabilityServices), sdk.On(sdk.OccasionServices)),
		tracePart(sdk.Needs(sdk.CapabilityServices), sdk.On(sdk.OccasionServices, sdk.OccasionFailure, sdk.OccasionRecovery, sdk.OccasionHint)),
	}
}

// ReflectorConfig is the stanza of the reflector.
type ReflectorConfig struct {
	// Enabled lets other nodes measure the path to this one and back.
	Enabled bool `json:"enabled" jsonschema:"answer the UDP packets of other nodes' path probes; default true"`
	// Port is that of UDP; 0 is the number of the node's own TCP port.
	Port uint16 `json:"port" jsonschema:"UDP port of the reflector; default 0: the number of the port that peers dial"`
}

// portOf is the port to listen on; 0 when it is not known.
func (c ReflectorConfig) portOf(n sdk.NodeInfo) uint16 {
	if c.Port != 0 {
		return c.Port
	}
	_, text, err := net.SplitHostPort(n.Advertise)
	if err != nil {
		return 0
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// listenAgain is how often a port is tried that is taken.
const listenAgain = 5 * time.Second

// listening is an instance's part in the reflector. Its port may be taken at first:
// then it comes later.
type listening struct {
	shared *reflectors
	port   uint16
	secret []byte
	log    hclog.Logger
	quit   chan struct{}
	trying sync.WaitGroup

	mu      sync.Mutex   // guards release
	release func() error // nil while nothing listens
}

// listen starts the reflector, if it may run; nil when it may not. Without it the
// probes of this node work all the same.
func (p *pmtuProber) listen(shared *reflectors, env sdk.Env) *listening {
	secret, port := env.Grants.Service(serviceReflector), p.c.Reflector.portOf(env.Node)
	if !p.c.Reflector.Enabled || secret == nil || port == 0 {
		return nil
	}
	l := &listening{shared: shared, port: port, secret: secret, log: env.Log, quit: make(chan struct{})}
	err := l.try()
	if err != nil {
		l.log.Warn("no reflector: other nodes cannot measure the path to this one", "error", err)
	}
	if err != nil && sdk.ReasonOf(err) != sdk.ReasonUnsupported {
		l.trying.Go(l.keepTrying)
	}
	return l
}

func (l *listening) try() error {
	release, err := l.shared.take(l.port, l.secret, l.log)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release = release
	return nil
}

func (l *listening) keepTrying() {
	again := time.NewTicker(listenAgain)
	defer again.Stop()
	for {
		select {
		case <-l.quit:
			return
		case <-again.C:
		}
		came := false
		sdk.Survive(l.log, "the reflector's start", func() { came = l.try() == nil })
		if came {
			l.log.Info("the reflector listens", "port", l.port)
			return
		}
	}
}

func (l *listening) services() []sdk.Service {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.release == nil {
		return nil
	}
	return []sdk.Service{{Name: serviceReflector, Port: l.port}}
}

// close gives the reflector back.
func (l *listening) close() error {
	close(l.quit)
	l.trying.Wait()
	if l.release == nil {
		return nil
	}
	return l.release()
}

// Services implements sdk.Serving.
func (p *pmtuProber) Services() []sdk.Service {
	if p.listening == nil {
		return nil
	}
	return p.listening.services()
}

// Close ends what listens for the instance.
func (p *pmtuProber) Close() error {
	if p.listening == nil {
		return nil
	}
	return p.listening.close()
}
