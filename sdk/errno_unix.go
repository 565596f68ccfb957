//go:build unix

package sdk

import "syscall"

var errnoReasons = map[syscall.Errno]Reason{
	syscall.ECONNREFUSED: ReasonRefused,
	syscall.ECONNRESET:   ReasonReset,
	syscall.ECONNABORTED: ReasonReset,
	syscall.EPIPE:        ReasonReset,
	syscall.ETIMEDOUT:    ReasonTimeout,
	syscall.EHOSTUNREACH: ReasonUnreachable,
	syscall.EHOSTDOWN:    ReasonUnreachable,
	syscall.ENETUNREACH:  ReasonUnreachable,
	syscall.ENETDOWN:     ReasonUnreachable,
	syscall.EMSGSIZE:     ReasonTooLarge,

	syscall.EPERM:           ReasonPermission,
	syscall.EACCES:          ReasonPermission,
	syscall.EAFNOSUPPORT:    ReasonPermission,
	syscall.EPROTONOSUPPORT: ReasonPermission,

	syscall.EMFILE:        ReasonResources,
	syscall.ENFILE:        ReasonResources,
	syscall.ENOMEM:        ReasonResources,
	syscall.ENOBUFS:       ReasonResources,
	syscall.EADDRNOTAVAIL: ReasonResources, // no local port is left
	syscall.EADDRINUSE:    ReasonResources,
}
