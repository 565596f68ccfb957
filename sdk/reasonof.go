package sdk

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"syscall"
)

// ReasonOf derives the reason from errors of this package, net, tls, x509, dns,
// http, json, context and the system's. It is [ReasonOther] for what it does not
// know, and empty for nil.
func ReasonOf(err error) Reason {
	if err == nil {
		return ""
	}
	var f *failure
	if errors.As(err, &f) {
		return f.reason
	}
	for _, of := range []func(error) Reason{dnsReason, tlsReason, errnoReason, doneReason, protocolReason} {
		if r := of(err); r != "" {
			return r
		}
	}
	return ReasonOther
}

// dnsReason: a lookup that the run's own end cut off is not the fault of the name.
func dnsReason(err error) Reason {
	var d *net.DNSError
	switch {
	case !errors.As(err, &d):
		return ""
	case errors.Is(err, context.Canceled):
		return ReasonCanceled
	default:
		return ReasonDNS
	}
}

// tlsReason knows what the packages give a type, the alerts, which come as a
// net.OpError, and the rest by its prefix.
func tlsReason(err error) Reason {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		alert        tls.AlertError
		authority    x509.UnknownAuthorityError
		host         x509.HostnameError
		invalid      x509.CertificateInvalidError
		op           *net.OpError
	)
	switch {
	case errors.As(err, &verification), errors.As(err, &record), errors.As(err, &alert),
		errors.As(err, &authority), errors.As(err, &host), errors.As(err, &invalid):
		return ReasonTLS
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"):
		return ReasonTLS
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		text := e.Error()
		if strings.HasPrefix(text, "tls: ") || strings.HasPrefix(text, "x509: ") ||
			text == "http: server gave HTTP response to HTTPS client" {
			return ReasonTLS
		}
	}
	return ""
}

func errnoReason(err error) Reason {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errnoReasons[errno]
	}
	if errors.Is(err, fs.ErrPermission) {
		return ReasonPermission
	}
	return ""
}

func doneReason(err error) Reason {
	var n net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonTimeout
	case errors.Is(err, context.Canceled):
		return ReasonCanceled
	case errors.As(err, &n) && n.Timeout():
		return ReasonTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		return ReasonReset
	default:
		return ""
	}
}

func protocolReason(err error) Reason {
	var (
		body   *http.MaxBytesError
		mime   textproto.ProtocolError
		syntax *json.SyntaxError
		typ    *json.UnmarshalTypeError
		addr   *net.AddrError
		parse  *net.ParseError
		host   net.UnknownNetworkError
	)
	switch {
	case errors.As(err, &body), errors.Is(err, bufio.ErrTooLong):
		return ReasonTooLarge
	case errors.As(err, &mime), errors.As(err, &syntax), errors.As(err, &typ), malformedHTTP(err):
		return ReasonProtocol
	case errors.As(err, &addr), errors.As(err, &parse), errors.As(err, &host):
		return ReasonUnreachable
	default:
		return ""
	}
}

// malformedHTTP knows net/http's errors about a response, which have no type.
func malformedHTTP(err error) bool {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if strings.HasPrefix(e.Error(), "malformed HTTP ") {
			return true
		}
	}
	return false
}
