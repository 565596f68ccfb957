package sdk

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// errnoReasons has the numbers of Winsock: those of package syscall are invented
// there and never come from the system.
var errnoReasons = map[syscall.Errno]Reason{
	windows.WSAECONNREFUSED: ReasonRefused,
	windows.WSAECONNRESET:   ReasonReset,
	windows.WSAECONNABORTED: ReasonReset,
	windows.WSAETIMEDOUT:    ReasonTimeout,
	windows.WSAEHOSTUNREACH: ReasonUnreachable,
	windows.WSAEHOSTDOWN:    ReasonUnreachable,
	windows.WSAENETUNREACH:  ReasonUnreachable,
	windows.WSAENETDOWN:     ReasonUnreachable,
	windows.WSAEMSGSIZE:     ReasonTooLarge,

	windows.WSAEACCES:          ReasonPermission,
	windows.WSAEAFNOSUPPORT:    ReasonPermission,
	windows.WSAEPROTONOSUPPORT: ReasonPermission,

	windows.WSAEMFILE:        ReasonResources,
	windows.WSAENOBUFS:       ReasonResources,
	windows.WSAEADDRNOTAVAIL: ReasonResources,
	windows.WSAEADDRINUSE:    ReasonResources,
}
