package sdk_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/seahow-uk/nodeprobe/sdk"
	"github.com/seahow-uk/nodeprobe/sdk/plugintest"
)

// The errors are those that Go gives for real targets.
func TestReasonsOfRealFailures(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	untrusted := plugintest.TLS(t, &tls.Config{Certificates: []tls.Certificate{plugintest.Certificate(t, time.Time{}, time.Time{}, "127.0.0.1")}}, nil)
	picky := plugintest.TLS(t, &tls.Config{
		Certificates: []tls.Certificate{plugintest.Certificate(t, time.Time{}, time.Time{}, "127.0.0.1")}, ClientAuth: tls.RequireAnyClientCert,
	}, nil)
	insecure := &tls.Config{InsecureSkipVerify: true}
	for name, tt := range map[string]struct {
		want sdk.Reason
		do   func(ctx context.Context) error
	}{
		"refused":       {sdk.ReasonRefused, dialTo(plugintest.Refusing(t))},
		"silent":        {sdk.ReasonTimeout, readFrom(plugintest.Silent(t))},
		"reset":         {sdk.ReasonReset, readFrom(plugintest.Resetting(t))},
		"closed":        {sdk.ReasonReset, readFrom(plugintest.Banner(t, ""))},
		"untrusted":     {sdk.ReasonTLS, shake(untrusted, &tls.Config{ServerName: "127.0.0.1"})},
		"no TLS there":  {sdk.ReasonTLS, shake(plugintest.Banner(t, "SSH-2.0-x\r\n"), insecure)},
		"HTTP on HTTPS": {sdk.ReasonTLS, get("https://" + plain.Listener.Addr().String())},
		"alert":         {sdk.ReasonTLS, shake(picky, insecure)},
		"TLS hangs":     {sdk.ReasonTimeout, shake(plugintest.Silent(t), insecure)},
		"not HTTP":      {sdk.ReasonProtocol, get("http://" + plugintest.Listen(t, notHTTP).Addr(0))},
		"port out of range": {sdk.ReasonUnreachable, func(ctx context.Context) error {
			_, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:70000")
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if tt.want != sdk.ReasonTimeout {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
			}
			defer cancel()
			if err := tt.do(ctx); sdk.ReasonOf(err) != tt.want {
				t.Errorf("got %q for %v (%T), want %q", sdk.ReasonOf(err), err, err, tt.want)
			}
		})
	}
}

func TestReasonsOfErrors(t *testing.T) {
	canceled := &net.DNSError{Err: "operation was canceled", UnwrapErr: context.Canceled}
	for _, tt := range []struct {
		err  error
		want sdk.Reason
	}{
		{nil, ""},
		{errors.New("x"), sdk.ReasonOther},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, sdk.ReasonDNS},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, sdk.ReasonDNS},
		{canceled, sdk.ReasonCanceled},
		{fmt.Errorf("dial: %w", os.NewSyscallError("connect", syscall.ENETUNREACH)), sdk.ReasonUnreachable},
		{fmt.Errorf("send: %w", syscall.EMSGSIZE), sdk.ReasonTooLarge},
		{fmt.Errorf("listen: %w", os.ErrPermission), sdk.ReasonPermission},
		{fmt.Errorf("read: %w", io.ErrUnexpectedEOF), sdk.ReasonReset},
		{&http.MaxBytesError{Limit: 1}, sdk.ReasonTooLarge},
		{fmt.Errorf("again: %w", sdk.Fail(sdk.ReasonLoss, "9 of 10")), sdk.ReasonLoss},
	} {
		if got := sdk.ReasonOf(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

func dialTo(to sdk.Target) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := new(net.Dialer).DialContext(ctx, "tcp", to.Addr(0))
		return err
	}
}

func readFrom(to sdk.Target) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.Addr(0))
		if err != nil {
			return err
		}
		defer conn.Close()
		deadline, _ := ctx.Deadline()
		_ = conn.SetDeadline(deadline)
		_, err = conn.Read(make([]byte, 1))
		return err
	}
}

// shake makes a handshake and reads: an alert after TLS 1.3's handshake comes then.
func shake(to sdk.Target, config *tls.Config) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", to.Addr(0))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
		return err
	}
}

// notHTTP waits for the request: what comes before it has an error of its own.
func notHTTP(c net.Conn) {
	_, _ = c.Read(make([]byte, 4096))
	_, _ = c.Write([]byte("SSH-2.0-x\r\n"))
}

func get(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
}
